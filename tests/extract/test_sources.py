"""Promises about sources: what becomes a sample, and what is refused with its file and line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from icehouse import errors
from icehouse.extract.sources import first_of_each, read_source
from making import draw


def manifest(tmp_path: Path, text: str, *, files: tuple[str, ...] = ("a.png", "b.png")) -> Path:
    for number, name in enumerate(files):
        draw(tmp_path / name, number)
    path = tmp_path / "manifest.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_sub_folders_are_the_classes_in_the_order_of_their_paths(image_folder) -> None:
    samples = read_source(image_folder).samples
    assert [sample.path for sample in samples][:2] == ["covid/0.png", "covid/1.png"]
    assert {sample.label for sample in samples} == {"covid", "normal"}
    assert not any(sample.split for sample in samples)


def test_train_val_and_test_folders_become_the_split_and_not_three_classes(tmp_path) -> None:
    for split in ("train", "val", "test"):
        for label in ("normal", "covid"):
            draw(tmp_path / split / label / "1.png", 1)
    samples = read_source(tmp_path).samples
    assert {(sample.split, sample.label) for sample in samples} == {
        (split, label) for split in ("train", "val", "test") for label in ("normal", "covid")
    }


def test_a_class_may_be_called_test(tmp_path) -> None:
    for label in ("test", "control"):
        draw(tmp_path / label / "1.png", 1)
    assert {sample.label for sample in read_source(tmp_path).samples} == {"test", "control"}


def test_a_folder_of_images_alone_is_unlabelled(tmp_path) -> None:
    draw(tmp_path / "1.png", 1)
    assert [sample.label for sample in read_source(tmp_path).samples] == [""]


def test_images_beside_class_folders_are_not_guessed_at(image_folder) -> None:
    draw(image_folder / "loose.png", 1)
    with pytest.raises(errors.SourceError, match=r"1 images beside its class folders, such as loose\.png"):
        read_source(image_folder)


def test_deeper_folders_belong_to_their_class_and_hidden_files_to_nothing(tmp_path) -> None:
    draw(tmp_path / "covid" / "patient 1" / "1.png", 1)
    draw(tmp_path / "covid" / ".thumbnail.png", 2)
    draw(tmp_path / ".cache" / "2.png", 3)
    (sample,) = read_source(tmp_path).samples
    assert (sample.path, sample.label) == ("covid/patient 1/1.png", "covid")


def test_files_of_unknown_type_are_counted_and_named(image_folder) -> None:
    (image_folder / "covid" / "notes.txt").write_text("x")
    assert read_source(image_folder).unknown == {".txt": ["covid/notes.txt"]}


def test_a_link_that_leads_back_up_does_not_loop(image_folder) -> None:
    (image_folder / "covid" / "again").symlink_to(image_folder, target_is_directory=True)
    assert len(read_source(image_folder).samples) == 12


def test_limit_takes_the_first_of_each_class(image_folder) -> None:
    samples = first_of_each(read_source(image_folder).samples, 2)
    assert [sample.path for sample in samples] == [
        "covid/0.png",
        "covid/1.png",
        "normal/0.png",
        "normal/1.png",
    ]


def test_a_manifest_keeps_its_order_and_its_further_columns(tmp_path) -> None:
    path = manifest(tmp_path, "path,label,patient,age\nb.png,covid,p1,65\na.png,normal,p2,\n")
    first, second = read_source(path).samples
    assert (first.path, first.label, first.patient, first.columns) == ("b.png", "covid", "p1", {"age": "65"})
    assert second.columns == {"age": ""}
    assert first.file == tmp_path / "b.png"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_manifests_of_any_spreadsheet_are_read(tmp_path, delimiter) -> None:
    text = f"\ufeffpath{delimiter}label\r\na.png{delimiter}covid\r\n"
    (sample,) = read_source(manifest(tmp_path, text)).samples
    assert sample.label == "covid"


def test_paths_may_be_relative_to_another_root(tmp_path) -> None:
    draw(tmp_path / "elsewhere" / "a.png", 1)
    path = manifest(tmp_path, "path\na.png\n", files=())
    (sample,) = read_source(path, root=tmp_path / "elsewhere").samples
    assert sample.file == tmp_path / "elsewhere" / "a.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.png,x\n", "no column 'path' \\(in lower case\\); its columns are: file, label"),
        ("", r"manifest\.csv is empty; a CSV file begins with"),
        ("path,label\n", "names no images"),
        ("path,path\na.png,a.png\n", "the column 'path' more than once"),
        ("path,\na.png,x\n", "column 2 has no name"),
        ("path,label\na.png\n", "line 2: 1 fields where the header has 2"),
        ("path,label\na.png,x\n./a.png,x\n", "line 3: a.png stands already in line 2"),
        ("path\n../a.png\n", r"line 2: \.\./a\.png lies outside"),
        ("path\n/etc/passwd\n", "line 2: /etc/passwd lies outside"),
        ("path,label\n,x\n", "line 2: the path is empty"),
        ("path,label\na.png,Effusion|Mass\n", "line 2: 'Effusion|Mass' holds several labels"),
        ("path,label\nnone.png,x\n", "None of the 1 files .* Say with --root"),
        ("path,label\na.png,x\x1b[31m\n", "control characters"),
        ('path,label\n"a.png,x\n', "line 2: not valid CSV"),
    ],
)
def test_a_faulty_manifest_is_refused_with_its_line(tmp_path, text, message) -> None:
    with pytest.raises(errors.SourceError, match=message):
        read_source(manifest(tmp_path, text))


def test_one_missing_file_of_a_manifest_is_left_to_the_failures(tmp_path) -> None:
    path = manifest(tmp_path, "path\na.png\ngone.png\n")
    assert [sample.path for sample in read_source(path).samples] == ["a.png", "gone.png"]


def test_a_manifest_that_is_no_text_is_refused(tmp_path) -> None:
    (tmp_path / "manifest.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(errors.SourceError, match="is not UTF-8 text"):
        read_source(tmp_path / "manifest.csv")


def test_an_empty_folder_and_a_folder_without_images_are_told_apart(tmp_path) -> None:
    with pytest.raises(errors.SourceError, match=r"holds no images. Known suffixes"):
        read_source(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(errors.SourceError, match=r"holds no images \(1 \.txt, such as notes\.txt\)"):
        read_source(tmp_path)


def test_a_missing_source_is_named(tmp_path) -> None:
    with pytest.raises(errors.SourceError, match="no file or folder"):
        read_source(tmp_path / "nowhere")


def test_images_by_name_come_in_their_order_with_their_paths_as_typed(image_folder, monkeypatch) -> None:
    monkeypatch.chdir(image_folder)
    given = [Path("normal/3.png"), image_folder / "covid" / "1.png", Path("covid/0.png")]
    source = read_source(given)
    assert [sample.path for sample in source.samples] == [str(path) for path in given]
    assert {sample.label for sample in source.samples} == {""}
    (alone,) = read_source(Path("normal/3.png")).samples
    assert (alone.path, alone.label, alone.file) == ("normal/3.png", "", Path("normal/3.png"))


def test_a_folder_among_others_keeps_its_classes_and_comes_where_it_was_named(image_folder, tmp_path) -> None:
    shutil.copy(image_folder / "covid" / "0.png", tmp_path / "scan")  # by name it needs no suffix
    (image_folder / "notes.doc").write_text("x")
    source = read_source([tmp_path / "scan", image_folder])
    assert (source.samples[0].path, source.samples[0].label) == (str(tmp_path / "scan"), "")
    assert source.samples[1].path == str(image_folder / "covid" / "0.png")
    assert [sample.label for sample in source.samples[1:]] == ["covid"] * 6 + ["normal"] * 6
    assert source.unknown == {".doc": [str(image_folder / "notes.doc")]}


def test_labels_name_images_as_they_were_typed(image_folder, tmp_path) -> None:
    one, two = image_folder / "covid" / "0.png", image_folder / "normal" / "0.png"
    (tmp_path / "labels.csv").write_text(f"path,label,patient\n{two},ill,p2\n")
    source = read_source([one, two], labels=tmp_path / "labels.csv")
    assert [(sample.label, sample.patient) for sample in source.samples] == [("", ""), ("ill", "p2")]
    assert source.unnamed == 1


def test_what_is_named_twice_or_is_missing_or_is_a_manifest_is_refused(
    image_folder, tmp_path, monkeypatch
) -> None:
    one = image_folder / "covid" / "0.png"
    with pytest.raises(errors.UsageError, match="Name images"):
        read_source([])
    with pytest.raises(errors.SourceError, match=r"covid/0.png is named twice\. Name each"):
        read_source([one, one])
    monkeypatch.chdir(image_folder)
    with pytest.raises(errors.SourceError, match=r"covid/0.png is named twice, as .* and as covid/0.png"):
        read_source([image_folder, Path("covid/0.png")])
    with pytest.raises(errors.SourceError, match=r"There is no file or folder .*none\.png"):
        read_source([one, tmp_path / "none.png"])
    (tmp_path / "data.csv").write_text("path\na.png\n")
    with pytest.raises(errors.UsageError, match=r"data\.csv is a manifest and not an image: name it alone"):
        read_source([one, tmp_path / "data.csv"])
    with pytest.raises(errors.UsageError, match="--root"):
        read_source([one], root=tmp_path)

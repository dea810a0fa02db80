"""Promises about where weights come from: every place is named, nothing is taken for what it is not."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from icehouse import errors
from icehouse.extract import backbones, weights


@pytest.fixture
def homes(tmp_path, monkeypatch):
    """Return the user's own folder of weights and Keras's, both empty."""
    own, keras = tmp_path / "own", tmp_path / "keras"
    own.mkdir()
    monkeypatch.setenv("ICEHOUSE_WEIGHTS", str(own))
    monkeypatch.setenv("KERAS_HOME", str(keras))
    return own, keras / "models"


def test_weights_are_looked_for_in_the_users_folder_first(homes) -> None:
    backbone = backbones.find("inceptionv3")
    (homes[0] / backbone.weights_file).write_bytes(b"something else")
    with pytest.raises(errors.WeightsError, match="is not inceptionv3's ImageNet weights: its MD5 is"):
        weights.resolve("imagenet", backbone)


def test_the_listing_names_every_place_and_reads_no_file_unless_told(homes) -> None:
    vgg16 = backbones.find("vgg16")
    (homes[0] / vgg16.weights_file).write_bytes(b"something else")
    listed = {entry.backbone: entry for entry in weights.listing()}
    assert list(listed) == list(backbones.BACKBONES)
    entry = listed["vgg16"]
    assert [place.path for place in entry.places] == [folder / vgg16.weights_file for folder in homes]
    assert [(place.present, place.fits) for place in entry.places] == [(True, None), (False, None)]
    assert (entry.hash_kind, entry.hash) == ("md5", "6d6bbae143d832006294945121d1f1fc")
    assert entry.as_dict()["places"][0] == {"path": str(entry.places[0].path), "present": True, "fits": None}
    assert listed["mobilenetv2"].hash_kind == ""  # Keras has none


def test_the_listing_tells_whether_a_file_is_the_one_wanted(homes) -> None:
    (homes[0] / backbones.find("vgg16").weights_file).write_bytes(b"something else")
    (homes[0] / backbones.find("mobilenetv2").weights_file).write_bytes(b"anything")
    listed = {entry.backbone: entry for entry in weights.listing(check=True)}
    assert listed["vgg16"].places[0].fits is False
    assert listed["mobilenetv2"].places[0].fits is None
    lite = listed["efficientnetlite0"].places
    assert [(place.present, place.fits) for place in lite] == [(False, None), (True, True)]


def test_weights_are_downloaded_to_where_keras_keeps_them(homes, tmp_path) -> None:
    served = tmp_path / "vgg16_notop.h5"
    served.write_bytes(b"the weights")
    backbone = replace(
        backbones.find("vgg16"),
        url=served.as_uri(),
        weights_hash=hashlib.md5(b"the weights").hexdigest(),
    )
    found = weights.resolve("imagenet", backbone)
    assert found.path == homes[1] / backbone.weights_file
    assert found.identity == f"sha256:{hashlib.sha256(b'the weights').hexdigest()}"
    assert [path.name for path in homes[1].iterdir()] == [backbone.weights_file]


def test_a_download_that_is_not_what_was_wanted_leaves_nothing_behind(homes, tmp_path) -> None:
    served = tmp_path / "vgg16_notop.h5"
    served.write_bytes(b"an error page")
    with pytest.raises(errors.WeightsNotFound, match="could not be downloaded"):
        weights.resolve("imagenet", replace(backbones.find("vgg16"), url=served.as_uri()))
    assert list(homes[1].iterdir()) == []


def test_offline_the_error_names_file_hash_folder_and_what_works_now(homes) -> None:
    backbone = replace(backbones.find("densenet121"), url="http://127.0.0.1:9/nothing.h5")
    with pytest.raises(errors.WeightsNotFound) as caught:
        weights.resolve("imagenet", backbone)
    for part in (backbone.weights_file, backbone.weights_hash, str(homes[0]), "efficientnetlite0", "--weights"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("random:", errors.UsageError, "not random:SEED"),
        ("random", errors.UsageError, "not random:SEED"),
        ("random:-1", errors.UsageError, "not random:SEED"),
        ("nowhere.h5", errors.WeightsNotFound, "no weights file nowhere.h5"),
    ],
)
def test_what_is_no_weights_is_refused(spec, kind, message) -> None:
    with pytest.raises(kind, match=message):
        weights.resolve(spec, backbones.find("resnet50"))

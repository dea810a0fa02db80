"""What the results mean, as sections: heads compared with each other, and held against the controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..classify.comparison import LEVEL, spoken
from .charts import GREY, Shown, axis, chart, interval_bar, names_axis, plain, rounded, see_through, shown
from .comparison import meaning, sentences
from .judged import Judged
from .numbers import difference_text, interval_text, mean_with_interval, number_text, p_text
from .parts import Cell, Columns, Figure, Folded, Part, Section, Table, Words

_MOST_PAIRS = 45
"""Of more pairs than these, as ten heads have them, the surest are drawn, and all are in the table."""
_SINGLE = {"majority": "Majority class", "permuted": "Permuted labels", "pixels": "16×16 pixels"}


def comparison(runs: Sequence[Judged], compared: dict[str, Any] | None = None) -> Section | None:
    """Return the pairwise differences of heads, or None where there is one head only.

    Parameters
    ----------
    runs : sequence of Judged
    compared : dict, optional
        What `classify.comparison.compare_runs` says of several runs; a single run's document has its own.
    """
    document = compared or runs[0].document["comparison"]
    pairs = document["pairs"]
    if not pairs:
        return None
    name = spoken(document["metric"])
    parts: list[Part] = [Words(meaning(pairs))]
    if compared is not None:
        parts.append(_means(compared))
    texts = {head.label: head.text for head in shown(runs)}
    parts += [_forest(pairs, name, texts), _differences(pairs, name)]
    if len(pairs) > 1:
        parts.append(
            Folded("Each difference in a sentence", (Words("\n\n".join(pair["verdict"] for pair in pairs)),))
        )
    if compared is not None:
        parts.append(Words("\n\n".join(sentences(compared))))
    parts.append(
        Words(
            "Differences are of the same rounds on the same splits. p is of the corrected paired t-test (of "
            "one split, of the paired bootstrap over patients), and p (Holm) counts that there are several "
            f"comparisons: only one below {LEVEL:g} is called more than chance."
        )
    )
    return Section(f"Heads compared by {name}", tuple(parts))


def _means(compared: dict[str, Any]) -> Table:
    rows = [
        (label, Cell(number_text(entry["mean"]), entry["mean"]), Cell(interval_text(entry), entry["low"]))
        for label, entry in compared["heads"].items()
    ]
    name = spoken(compared["metric"])
    caption = f"{name[0].upper()}{name[1:]} on the {compared['rows']} rows that all runs have"
    return Table(caption, ("head", "mean", "95 % interval"), tuple(rows))


def _differences(pairs: list[dict[str, Any]], name: str) -> Table:
    rows = [
        (
            f"{pair['a']} − {pair['b']}",
            Cell(difference_text(pair["difference"]), pair["difference"]),
            Cell(interval_text(pair), pair["low"]),
            Cell(p_text(pair["p"]), pair["p"]),
            Cell(p_text(pair["p_holm"]), pair["p_holm"]),
            Cell(str(pair["rounds"]), pair["rounds"]),
        )
        for pair in pairs
    ]
    headings = ("heads", "difference", "95 % interval", "p", "p (Holm)", "rounds")
    return Table(f"Differences in {name}, the first head's minus the second's", headings, tuple(rows))


def _told(pair: dict[str, Any]) -> bool:
    return pair["p_holm"] is not None and bool(pair["p_holm"] < LEVEL)


def _forest(pairs: list[dict[str, Any]], name: str, texts: dict[str, str]) -> Figure:
    drawn = [pair for pair in pairs if pair["difference"] is not None]
    if len(drawn) > _MOST_PAIRS:
        drawn = sorted(drawn, key=lambda pair: 1.0 if pair["p"] is None else pair["p"])[:_MOST_PAIRS]
    figure = chart(90 + 38 * max(1, len(drawn)))
    for place, pair in enumerate(drawn):
        figure.add_scatter(**_difference(pair, place))
    figure.add_vline(x=0, line={"color": GREY, "width": 1})
    figure.update_xaxes(**axis(f"difference in {name}", nticks=7))
    names = [[texts.get(pair[side], plain(pair[side])) for side in ("a", "b")] for pair in drawn]
    figure.update_yaxes(**names_axis([f"{first} −<br>{second}" for first, second in names]))
    caption = "Bars are 95 % intervals; filled marks are differences that are more than chance explains (Holm)."
    if len(drawn) < len(pairs):
        caption += f" {len(drawn)} of {len(pairs)} pairs are drawn."
    said = [
        f"{pair['a']} minus {pair['b']}: {difference_text(pair['difference'])}"
        + ("." if pair["low"] is None else f", 95 % interval {interval_text(pair)}.")
        for pair in drawn
    ]
    alt = " ".join(said) or "No two heads can be compared."
    return Figure("differences", "Differences between heads", alt, figure, caption)


def _difference(pair: dict[str, Any], place: int) -> dict[str, Any]:
    colour = "#0072b2"
    return {
        "x": rounded([pair["difference"]]),
        "y": [place],
        "mode": "markers",
        "marker": {"symbol": "square" if _told(pair) else "square-open", "size": 9, "color": colour},
        "hovertemplate": f"{plain(pair['verdict'], 160)}<extra></extra>",
        "showlegend": False,
        **interval_bar(pair["difference"], pair["low"], pair["high"], colour),
    }


def alarms(run: Judged) -> list[str]:
    """Return the verdicts of the controls that sounded an alarm, the most severe first."""
    return [text for text, alarm in _spoken_verdicts(run) if alarm]


def _spoken_verdicts(run: Judged) -> list[tuple[str, bool]]:
    """Return each control's verdict, and whether it is an alarm."""
    found = run.document["controls"]
    if found is None:
        return []
    verdicts = [(f"{_SINGLE[name]}. {found[name]['verdict']}", found[name]["alarm"]) for name in _SINGLE]
    return verdicts + [(f"Origin. {one['verdict']}", one["alarm"]) for one in found["origin"]]


def controls(runs: Sequence[Judged]) -> Section:
    """Return what the scores must be held against, each with its verdict; runs side by side."""
    heads = shown(runs)
    several = len(runs) > 1
    columns = [
        (
            run.name,
            tuple(
                _of_run(run, [head for head in heads if head.run is run], f"-{number + 1}" if several else "")
            ),
        )
        for number, run in enumerate(runs)
    ]
    return Section("Controls", (Columns(tuple(columns)),) if several else columns[0][1])


def _of_run(run: Judged, heads: list[Shown], suffix: str) -> list[Part]:
    found = run.document["controls"]
    if found is None:
        return [Words("The controls were switched off, so nothing says what these scores are worth.", "note")]
    verdicts = _spoken_verdicts(run)
    if not found["origin"]:
        nothing = "Origin. No column says where an image comes from, so that could not be tried."
        verdicts.append((nothing, False))
    parts: list[Part] = []
    if sounded := alarms(run):
        parts.append(Words("\n\n".join(sounded), "alarm"))
    parts.append(_against(found, heads, suffix))
    if calm := [text for text, alarm in verdicts if not alarm]:
        parts.append(Words("\n\n".join(calm)))
    if found["origin"]:
        parts.append(_origins(found["origin"]))
    if found["skipped"]:
        reasons = "; ".join(f"{each['column']} ({each['reason']})" for each in found["skipped"])
        parts.append(Words(f"Columns that were passed over: {reasons}."))
    return parts


def _against(found: dict[str, Any], heads: list[Shown], suffix: str) -> Figure:
    """Return the heads beside the controls that have a balanced accuracy."""
    chance = found["majority"]["balanced_accuracy"]
    lines = [
        (head.label, head.text, head.style.colour, head.style.symbol, head.metrics["balanced_accuracy"])
        for head in heads
    ]
    lines += [
        (_SINGLE[name], _SINGLE[name], GREY, "circle-open", found[name])
        for name in ("pixels", "permuted")
        if found[name].get("mean") is not None
    ]
    lines = [line for line in lines if line[-1]["mean"] is not None]
    figure = chart(80 + 32 * (len(lines) + 1))
    for place, (_, text, colour, symbol, entry) in enumerate(lines):
        figure.add_scatter(**_mean(text, colour, symbol, entry, place))
    if found["permuted"].get("mean") is not None:
        scores, place = found["permuted"]["scores"], len(lines) - 1
        figure.add_scatter(
            x=rounded(scores),
            y=[place + 0.3] * len(scores),
            mode="markers",
            marker={"color": see_through(GREY, 0.5), "symbol": "line-ns-open", "size": 7},
            hovertemplate="one permutation: %{x:.4f}<extra></extra>",
            showlegend=False,
        )
    figure.add_scatter(
        x=rounded([chance]),
        y=[len(lines)],
        mode="markers",
        marker={"color": GREY, "symbol": "x", "size": 9},
        hovertemplate=f"always {plain(found['majority']['class'])}: %{{x:.4f}}<extra></extra>",
        showlegend=False,
    )
    figure.add_vline(x=chance, line={"color": GREY, "width": 1, "dash": "dot"})
    figure.update_xaxes(**axis("balanced accuracy", nticks=8))
    figure.update_yaxes(**names_axis([*(line[1] for line in lines), _SINGLE["majority"]]))
    said = [f"{label}: {mean_with_interval(entry)}." for label, *_, entry in lines]
    alt = " ".join([*said, f"Majority class, which is chance: {number_text(chance)}."])
    caption = "Means with 95 % intervals; the dotted line is chance, the small strokes are single permutations."
    return Figure(f"controls{suffix}", "Heads and controls", alt, figure, caption)


def _mean(text: str, colour: str, symbol: str, entry: dict[str, Any], place: int) -> dict[str, Any]:
    return {
        "x": rounded([entry["mean"]]),
        "y": [place],
        "mode": "markers",
        "marker": {"color": colour, "symbol": symbol, "size": 10},
        "hovertemplate": f"{text}: {mean_with_interval(entry)}<extra></extra>",
        "showlegend": False,
        **interval_bar(entry["mean"], entry["low"], entry["high"], colour),
    }


def _origins(origins: list[dict[str, Any]]) -> Table:
    rows = [
        (
            one["column"],
            _cell(one["class_association"]),
            one["class"] or "all",
            _cell(one["roc_auc"]),
            _cell(one["within_class_auc"]),
            _cell(one.get("leave_one_out")),
            _cell(one.get("mixed")),
            Cell("alarm" if one["alarm"] else "no", int(one["alarm"]), alarm=one["alarm"]),
        )
        for one in origins
    ]
    headings = (
        "column",
        "Cramér's V",
        "with class",
        "ROC-AUC",
        "ROC-AUC within a class",
        "one origin left out",
        "origins mixed",
        "alarm",
    )
    caption = (
        "Origins: how tightly each column goes with the class (V), how well the vectors tell it (ROC-AUC), and "
        "the balanced accuracy on an origin that was not trained on, beside that with origins mixed"
    )
    return Table(caption, headings, tuple(rows))


def _cell(value: float | None) -> Cell:
    return Cell(number_text(value), value)

"""Whether more or less of a metric is better, as far as its name tells."""

from __future__ import annotations

import re
from typing import Final

#: Time per something is less-is-better although it is a rate.
_TIME_PER: Final = re.compile(r"^(n|u|m)?s(ec(onds?)?)?(/|_per_|\bper\b)|^(time|latency)_?per_")
_HIGHER: Final = re.compile(
    r"/ ?s(ec(ond)?s?)?(?![a-z])|per[ _-]?s(ec(ond)?s?)?(?![a-z])|throughput|bandwidth|speed|flops"
    r"|/ ?(min(ute)?|h(ou)?r?)$|per[ _-]?(min(ute)?|hour|day|watt|joule)|/ ?[wj]$"
    r"|^(sps|tps|qps|fps|ips|rps|mfu)$"
    r"|accurac|(^|[_\W])acc($|[_\W])|score|bleu|rouge|(^|_)f1($|_)|(^|_)map($|_)|(^|_)auc($|_)|top_?[15]"
    r"|efficien|utili[sz]ation"
)
_LOWER: Final = re.compile(
    r"latenc|ttft|tpot|(^|_)itl($|_)|perplexity|(^|_)ppl($|_)|loss|error|(^|_)[wc]er($|_)|duration|elapsed"
    r"|(^|[_\W])(time|seconds?|secs?|[mun]?s|minutes?|mem|memory|vram|watts?|power|energy|joules?)($|[_\W])"
)


def direction(metric: str) -> int:
    """1: more is better (``samples_per_second``); -1: less is better (``ttft_ms``); 0: the name does not say.

    A guess that readers are told about; nothing but colours depends on it.
    """
    name = metric.strip().lower()
    if _TIME_PER.search(name):
        return -1
    if _HIGHER.search(name):
        return 1
    return -1 if _LOWER.search(name) else 0

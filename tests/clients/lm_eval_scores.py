"""What lm-evaluation-harness makes of texts through a server; run by the interpreter that has it, prints JSON.

python lm_eval_scores.py URL MODEL '[["The cat", " sat"]]' '["The cat sat."]'
    ->  {"pairs": [[-3.1, false]], "texts": [-9.8]}
"""

import json
import sys
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI


def main(url: str, model: str, pairs: str, texts: str) -> None:
    lm = LocalCompletionsAPI(base_url=f"{url}/v1/completions", model=model, tokenizer_backend="remote")

    def instances(kind: str, arguments: list[Any]) -> list[Instance]:
        return [
            Instance(request_type=kind, doc={}, arguments=tuple(a), idx=i) for i, a in enumerate(arguments)
        ]

    scored = lm.loglikelihood(instances("loglikelihood", json.loads(pairs)))
    rolled = lm.loglikelihood_rolling(
        instances("loglikelihood_rolling", [[text] for text in json.loads(texts)])
    )
    print(json.dumps({"pairs": [list(pair) for pair in scored], "texts": rolled}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The facts about verbs agree with the terminal's options."""

import subprocess
import sys
from pathlib import Path

from engine.settings import verb_facts
from engine.settings.requests import REQUESTS

ROOT = Path(__file__).resolve().parents[3]


def takers(option: str) -> set[str]:
    return {verb for verb in verb_facts.STEP_VERBS if option in REQUESTS[verb].model_fields}


def test_they_agree_with_the_options_of_the_table():
    assert takers("data") == set(verb_facts.TAKES_DATA)
    assert takers("device") == set(verb_facts.TAKES_DEVICE)
    assert takers("resume") == set(verb_facts.TRAINING)
    required = {verb for verb in verb_facts.STEP_VERBS if REQUESTS[verb].model_fields["data"].is_required()}
    assert required == {verb for verb in verb_facts.STEP_VERBS if verb_facts.needs_data(verb, {})}


def test_every_step_has_a_word_and_an_unknown_verb_its_own_name():
    assert set(verb_facts.WORDS) == set(verb_facts.STEP_VERBS)
    assert verb_facts.verb_word("finetune") == "Fine-tuning" and verb_facts.verb_word("latency") == "Latency"
    assert verb_facts.needs_data("prune", {"recalibrate": 8})


def test_they_are_known_without_pytorch():
    light = "not {'torch', 'streamlit'} & set(sys.modules)"
    program = f"import sys, engine.settings.verb_facts, engine.jobs; print({light})"
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "True"

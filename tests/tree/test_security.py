"""No code of the tree unpickles, evaluates or downloads what others wrote; each rule finds a planted fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.avqa.cli import main
from tests.tree.security_rules import RULES, findings
from tests.tree.test_imports import FOLDERS, ROOT, files

PRODUCT = {"gaussian_moe", "kernels", "examples", "benchmarks"}
ALLOWED = {
    ("examples/avqa/data.py", "assert"): "of our own sampler's items, not of anything given",
    ("examples/avqa/encoders/weights.py", "download"): "weights of preset paper, read as safetensors or weights_only",
    ("benchmarks/machine_code.py", "assert"): "of two constant tables in the file itself",
    ("tests/stress/attacks/pickles.py", "evaluating"): "files that would run code, to see that none does",
    ("tests/stress/attacks/pickles.py", "pickled arrays"): "such a file is written, to see it refused",
    ("tests/distribution.py", "extracting"): "our own sdist, on Pythons that have no filter yet",
    ("tests/docs/page.py", "evaluating"): "our own pages' examples",
    ("tests/examples/test_features.py", "pickled arrays"): "such a file is written, to see it refused",
    ("tests/examples/test_prepare.py", "pickled arrays"): "such a file is written, to see it refused",
    ("tests/examples/test_store.py", "unpickling"): "what the test has pickled, as data loaders do between processes",
    ("gaussian_moe/hub.py", "download"): "safetensors and a JSON file, of the repository that the caller names",
}
"""What is done all the same, by file and rule, and why."""


def _found(folder: str) -> list[tuple[str, str, int]]:
    return [
        (path.relative_to(ROOT).as_posix(), finding.rule, finding.line)
        for path in files(folder)
        for finding in findings(path.read_text(encoding="utf-8"), folder in PRODUCT)
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_rule_is_broken(folder: str) -> None:
    assert [found for found in _found(folder) if found[:2] not in ALLOWED] == []


@pytest.mark.slow
def test_every_exception_is_needed() -> None:
    found = {found[:2] for folder in FOLDERS for found in _found(folder)}
    assert set(ALLOWED) - found == set()


PLANTED = {
    "torch.load": [
        "import torch\ntorch.load(p)",
        "import torch\ntorch.load(p, weights_only=False)",
        "import torch\ntorch.load(p, weights_only=safe)",
        "from torch import load as read\nread(p)",
        "import torch as t\nt.load(p, **options)",
        "Module.load_from_checkpoint(p)",
        "from a import Module\nModule.load_from_checkpoint(p, map_location='cpu')",
    ],
    "checkpoint": ["trainer.fit(m, ckpt_path=p)", "make().test(m, ckpt_path='best', weights_only=False)"],
    "unpickling": [
        "import pickle\npickle.load(f)",
        "from pickle import loads\nloads(b)",
        "import pickle as p\np.Unpickler(f)",
        "import cloudpickle\ncloudpickle.load(f)",
        "import dill\ndill.loads(b)",
        "from joblib import load\nload(p)",
        "import shelve\nshelve.open(p)",
        "import marshal\nmarshal.loads(b)",
        "import torch\ntorch.jit.load(p)",
        "import torch\ntorch.hub.load(r, m)",
    ],
    "numpy.load": ["import numpy as np\nnp.load(p)", "import numpy\nnumpy.load(p, allow_pickle=True)"],
    "pickled arrays": ["import numpy as np\nnp.save(p, a, allow_pickle=True)", "np.load(p, allow_pickle=given)"],
    "evaluating": [
        "eval(s)",
        "exec(s)",
        "compile(s, 'a', 'exec')",
        "__import__(s)",
        "import builtins\nbuiltins.eval(s)",
    ],
    "shell": [
        "import os\nos.system(s)",
        "from os import popen\npopen(s)",
        "import subprocess\nsubprocess.run(s, shell=True)",
        "from subprocess import Popen\nPopen(s, shell=wanted)",
        "import subprocess\nsubprocess.getoutput(s)",
    ],
    "yaml.load": [
        "import yaml\nyaml.load(s)",
        "import yaml\nyaml.load(s, Loader=yaml.Loader)",
        "from yaml import unsafe_load\nunsafe_load(s)",
        "import yaml\nyaml.full_load(s)",
    ],
    "extracting": [
        "import tarfile\ntarfile.open(p).extractall(d)",
        "import zipfile\nwith zipfile.ZipFile(p) as z:\n    z.extractall(d)",
        "import shutil\nshutil.unpack_archive(p, d)",
    ],
    "temporary name": ["import tempfile\ntempfile.mktemp()"],
    "remote code": ["Model.from_pretrained(p, trust_remote_code=True)", "load(p, trust_remote_code=given)"],
    "weak hash": [
        "import hashlib\nhashlib.md5(b)",
        "from hashlib import sha1\nsha1(b)",
        "import hashlib\nhashlib.new('md5')",
    ],
    "unverified connection": ["get(u, verify=False)", "import ssl\nssl._create_unverified_context()"],
    "download": [
        "import torch\ntorch.hub.download_url_to_file(u, p)",
        "from huggingface_hub import hf_hub_download\nhf_hub_download(r, n)",
    ],
    "network": ["import requests", "from urllib.request import urlopen", "from urllib import request", "import httpx"],
    "xml": ["import xml.etree.ElementTree as ET", "from lxml import etree"],
    "assert": ["assert len(given) > 0", "assert given == wanted, 'no'", "assert given"],
    "all interfaces": ["listen('0.0.0.0')"],
}


@pytest.mark.parametrize(("rule", "source"), [(rule, source) for rule, all_ in PLANTED.items() for source in all_])
def test_a_planted_fault_is_found(rule: str, source: str) -> None:
    assert rule in [finding.rule for finding in findings(source)]


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(p, map_location='cpu', weights_only=True)",
        "trainer.fit(m, ckpt_path=p, weights_only=True)",
        "trainer.fit(m, ckpt_path=None)",
        "import json\njson.load(f)",
        "import pickle\ntry:\n    f()\nexcept pickle.UnpicklingError:\n    pass",
        "import numpy as np\nnp.load(p, allow_pickle=False)",
        "model.eval()\nre.compile(p)\ntorch.compile(m)",
        "import subprocess\nsubprocess.run(['git'])",
        "import yaml\nyaml.safe_load(s)\nyaml.load(s, yaml.CSafeLoader)",
        "import tarfile\ntarfile.open(p).extractall(d, filter='data')",
        "import hashlib\nhashlib.sha256(b)\nhashlib.md5(b, usedforsecurity=False)",
        "from urllib.parse import urlsplit",
        "assert x is not None\nassert isinstance(x, int)\nassert not isinstance(x, str)",
    ],
)
def test_what_is_fine_is_not_found(source: str) -> None:
    assert findings(source) == []


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule.name for rule in RULES} <= set(PLANTED)


def test_tests_may_use_the_network_of_this_machine() -> None:
    assert findings("import httpx\nassert x == 1", product=False) == []


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch canary']",
        "data: !!python/object/new:os.system ['touch canary']",
        "data: !!python/name:os.system ''",
        "data: !!python/module:os ''",
        "model:\n  class_path: os.system\n  init_args:\n    command: touch canary",
        "data:\n  class_path: subprocess.Popen\n  init_args:\n    args: [touch, canary]",
    ],
)
def test_a_config_runs_nothing(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    try:
        code: object = main(["fit", "--config", "config.yaml", "--out", "run"])
    except SystemExit as ended:  # The parser's way.
        code = ended.code
    assert code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/config.yaml", "https://example.invalid/config.yaml", "memory://a"]
)
def test_a_config_is_a_file(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", address, "--out", str(tmp_path / "run")])
    assert address in capsys.readouterr().err

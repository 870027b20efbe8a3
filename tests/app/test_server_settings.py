"""The server's settings hold from any working directory, also where links do not exist (Windows, a ZIP)."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BESIDE_HOME = ROOT / "app" / ".streamlit" / "config.toml"


def test_the_settings_beside_the_entry_point_are_those_of_the_repository():
    assert not BESIDE_HOME.parent.is_symlink(), "a link becomes a text file on Windows and in a ZIP"
    settings = [tomllib.loads(path.read_text()) for path in (BESIDE_HOME, ROOT / ".streamlit" / "config.toml")]
    assert settings[0] == settings[1]


def test_started_from_anywhere_the_server_listens_on_this_machine_alone(tmp_path):
    program = (
        "import sys; from streamlit import config; from streamlit.web.bootstrap import load_config_options; "
        f"config._main_script_path = {str(ROOT / 'app' / 'Home.py')!r}; load_config_options({{}}); "
        "print(config.get_option('server.address'))"
    )
    shown = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "127.0.0.1"

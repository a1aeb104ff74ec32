"""Rendering as transformers does it: its own compiled template, on a fixed date. Used by make_jinja.py and tests/peers/templates.py."""
import datetime
import json
import subprocess

import transformers.utils.chat_template_utils as utils


class Fixed(datetime.datetime):
    day = "2024-07-26"

    @classmethod
    def now(cls, tz=None):
        return cls.fromisoformat(cls.day)


utils.datetime = Fixed  # what strftime_now() asks


def render(template, variables):
    """(text, None) or (None, error)"""
    try:
        return utils._compile_jinja_template(template).render(**variables), None
    except Exception as e:  # whatever Python says: the template does not take this
        return None, "%s: %s" % (type(e).__name__, str(e)[:200])


class Ours:
    """build/tests/tools/jinja, one line in, one line out."""

    def __init__(self, tool):
        self.tool = subprocess.Popen([tool], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def render(self, template, variables):
        """(text, None, False) or (None, error, whether it is a construct that is not offered)"""
        line = json.dumps({"template": template, "variables": variables, "date": Fixed.day})
        self.tool.stdin.write(line.encode() + b"\n")
        self.tool.stdin.flush()
        out = json.loads(self.tool.stdout.readline())
        return out.get("text"), out.get("error"), out.get("refused", False)

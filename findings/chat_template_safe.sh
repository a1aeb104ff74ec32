#!/bin/bash
# A chat template that marks a text `| safe` gets HTML escapes into its prompt; one that does not, gets none.
#
# jinja2 3.1.6 with markupsafe 3.0.3, in the environment that transformers 5.2.0 makes for chat templates: autoescape is off. One
# would then take `| safe` for a word without effect. It makes a Markup, though, and Markup + text escapes the text, on either side of the
# +, whatever autoescape says (`~` does not). Published templates join so: functionary-medium-v3.1 writes
# "Use the function '"|safe + name + "' to '"|safe + description, and Ministral 3 name + '[ARGS]' + arguments with
# arguments|tojson|safe. What the model then reads of a description or name with a quote, < or & is not what was given.
#
# Seen:  plain  Use 'find' to 'search for "words" & <tags>'
#        safe   Use 'find' to 'search for &#34;words&#34; &amp; &lt;tags&gt;'
#
# Exits 1 once that is no longer so. Needs python3 with venv and the network.
set -eu
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install -q jinja2==3.1.6 markupsafe==3.0.3
"$T/venv/bin/python" - <<'EOF'
from jinja2.sandbox import ImmutableSandboxedEnvironment

tool = {"name": "find", "description": 'search for "words" & <tags>'}
plain = "{% for t in tools %}{{ \"Use '\" + t.name + \"' to '\" + t.description }}'{% endfor %}"
safe = plain.replace("\"Use '\"", "\"Use '\"|safe").replace("\"' to '\"", "\"' to '\"|safe")
seen = {}
for name, template in (("plain", plain), ("safe", safe)):
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    seen[name] = environment.from_string(template).render(tools=[tool])
    print("%-6s %s" % (name, seen[name]))
assert seen["plain"] == "Use 'find' to 'search for \"words\" & <tags>'"
assert seen["safe"] == "Use 'find' to 'search for &#34;words&#34; &amp; &lt;tags&gt;'"
EOF

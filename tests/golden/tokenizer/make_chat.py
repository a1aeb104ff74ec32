"""Golden file of the chat templates: token ids of transformers' apply_chat_template for each template and user message.

    python make_chat.py                   # writes chat.json and, for each case and message, 1 + n, ids[n] as in KIND.ids
    python make_chat.py NAME=FILE ...     # checks a published template against the one that stands for it here

The templates below are ours: they write what a family's published template writes for a conversation of user turns, in
its manner, without its tools and images. A published one (the text of "chat_template" in tokenizer_config.json, or
chat_template.jinja) is checked against it by rendering the same messages with both.
"""
import json
import pathlib
import sys

from transformers import PreTrainedTokenizerFast

from make_tokenizers import words

HERE = pathlib.Path(__file__).parent

CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

QWEN25 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}{{- tools | tojson }}{{- '<|im_end|>\\n' }}
{%- elif messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role != "system" or not loop.first %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

QWEN3 = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "user" %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>assistant\\n' + content.split('</think>')[-1].lstrip('\\n') + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

SMOLLM2 = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""

LLAMA3 = """{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}\
{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}\
{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

LLAMA31 = """{{- bos_token }}
{#- the "date" can be given -#}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

GEMMA3 = """{{ bos_token }}
{%- for message in messages -%}
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model\\n' }}
{%- endif -%}
"""

GEMMA2 = """{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '
' + message['content'] | trim + '<end_of_turn>
' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model
'}}{% endif %}"""

MISTRAL = """{%%- if messages[0]["role"] == "system" %%}
    {%%- set system_message = messages[0]["content"] %%}
    {%%- set messages = messages[1:] %%}
{%%- endif %%}
{{- bos_token }}
{%%- for message in messages %%}
    {%%- if message["role"] == "user" and loop.last and system_message is defined %%}
        {{- "%s" + system_message + "\\n\\n" + message["content"] + "%s" }}
    {%%- elif message["role"] == "user" %%}
        {{- "%s" + message["content"] + "%s" }}
    {%%- else %%}
        {{- message["content"] + eos_token }}
    {%%- endif %%}
{%%- endfor %%}
"""


def mistral(before, after):
    return MISTRAL % (before, after, before, after)


LLAMA2 = """{% for message in messages %}{% set content = message['content'] %}{% if message['role'] == 'user' %}\
{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}\
{% endif %}{% endfor %}"""

CASES = {  # name: template, tokenizer, BOS
    "chatml": (CHATML, "qwen2", None),
    "qwen2.5": (QWEN25, "qwen2", None),
    "qwen3": (QWEN3, "qwen2", None),
    "smollm2": (SMOLLM2, "smollm", None),
    "llama3": (LLAMA3, "llama3", "<|begin_of_text|>"),
    "llama3.1": (LLAMA31, "llama3", "<|begin_of_text|>"),
    "gemma3": (GEMMA3, "gemma", "<bos>"),
    "gemma2": (GEMMA2, "gemma", "<bos>"),
    "mistral-v0.1": (mistral("[INST] ", " [/INST]"), "llama2", "<s>"),
    "mistral-v0.1-space": (mistral(" [INST] ", " [/INST]"), "llama2", "<s>"),
    "mistral-v0.3": (mistral("[INST] ", "[/INST]"), "llama2", "<s>"),
    "mistral-nemo": (mistral("[INST]", "[/INST]"), "llama2", "<s>"),
    "llama2": (LLAMA2, "llama2", "<s>"),
}

USERS = [
    "Hi", "", " ", "\n", "What is the capital of France?", "  two spaces before and after  ",
    "\n\nlines before\nand after\n\n",
    "\t\r\n mixed \u2003\u00a0\u3000\x1c\x85 white space \x0b\x0c\u2028\u2029\u202f\u205f\u1680",
    "\x1f\x1cseparators\x1d\x1e", "\u202f\u205fspaces\u1680\u2029", "\u200bnot white space\u200b", "\u180ex\ufeff",
    "\u0301combining first", "caf\u00e9 and cafe\u0301", "日本語のテキスト。", "שלום עולם", "👩‍👩‍👧‍👦 family 🇫🇷",
    "1234567 and 12.5 %",
    "def f(x):\n    return x ** 2\n", "# Title\n\n- one\n- two\n\n\n\n```c\nint main(void) { return 0; }\n```\n",
    "quotes ' \" and braces {{ x }} {% y %} \\n \\", "It's a long one. " * 3 + "Isn't it?",
]


def tokenizer(kind, bos):
    return PreTrainedTokenizerFast(tokenizer_file=str(HERE / (kind + ".json")), bos_token=bos, eos_token="</s>")


def main():
    out, every = {"users": USERS, "cases": []}, b""
    for name, (template, kind, bos) in CASES.items():
        t = tokenizer(kind, bos)
        ids = [t.apply_chat_template([{"role": "user",
        "content": u}], chat_template=template, add_generation_prompt=True,
                                     tokenize=True, return_dict=False) for u in USERS]
        out["cases"].append({"name": name, "template": template, "tokenizer": kind, "bos": bos})
        every += b"".join(map(words, ids))
    (HERE / "chat.json").write_text(json.dumps(out, ensure_ascii=False, indent=0) + "\n")
    (HERE / "chat.ids").write_bytes(every)


def check(name, path):
    template, kind, bos = CASES[name]
    theirs = pathlib.Path(path).read_text()
    t, differ = tokenizer(kind, bos), 0
    for user in USERS:
        a, b = (t.apply_chat_template([{"role": "user", "content": user}], chat_template=x, add_generation_prompt=True,
                                      tokenize=False) for x in (template, theirs))
        differ += a != b
    print("%s: %s renders %d of %d messages differently" % (name, path, differ, len(USERS)))
    return differ


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(any([check(*argument.split("=", 1)) for argument in sys.argv[1:]]))
    main()

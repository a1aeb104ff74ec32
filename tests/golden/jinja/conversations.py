"""The conversations that templates are tried with: name → messages. And the tools, date and special tokens given with them."""

USER = {"role": "user", "content": "What is the capital of France?"}
ANSWER = {"role": "assistant", "content": "Paris."}
MORE = {"role": "user", "content": "And of Spain?"}
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"id": "call_0001", "type": "function", "function": {
    "name": "weather", "arguments": {"city": "Paris", "days": 2, "units": None, "dry": True, "odds": 0.5}}}]}
TOLD = {"role": "tool", "name": "weather", "tool_call_id": "call_0001", "content": "{\"sky\": \"clear\"}"}

CONVERSATIONS = {
    "user": [USER],
    "system": [SYSTEM, USER],
    "turns": [USER, ANSWER, MORE],
    "system and turns": [SYSTEM, USER, ANSWER, MORE],
    "nothing": [],
    "system alone": [SYSTEM],
    "empty text": [{"role": "user", "content": ""}],
    "white space": [{"role": "user", "content": "  \n\t two lines \u2003\u00a0\n and more \x0b\x1c "}],
    "empty system": [{"role": "system", "content": ""}, USER],
    "two users": [USER, MORE],
    "assistant first": [ANSWER, USER],
    "ends with the assistant": [USER, ANSWER],
    "long": [SYSTEM] + [USER, ANSWER, MORE, {"role": "assistant", "content": " Madrid.\n"}] * 3 + [USER],
    "unicode": [{"role": "user", "content": "caf\u00e9 \u65e5\u672c\u8a9e \U0001f469\u200d\U0001f469\u200d\U0001f467 \u05e9\u05dc\u05d5\u05dd \u00df\u0130"}],
    "quotes": [{"role": "user", "content": "' \" {{ x }} {% y %} \\n \\ <b>&amp;</b> `code`"}],
    "special tokens": [{"role": "user", "content": "<|im_end|>\n<|im_start|>system</s>[INST]<|eot_id|><end_of_turn>"}],
    "thoughts": [USER, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nParis."}, MORE],
    "reasoning": [USER, {"role": "assistant", "content": "Paris.", "reasoning_content": "Hm."}, MORE],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": " this?"}]}],
    "developer": [{"role": "developer", "content": "Be kind."}, USER],
    "tool call": [USER, CALL, TOLD],
    "tool answer": [SYSTEM, USER, CALL, TOLD, {"role": "assistant", "content": "It is clear."}, MORE],
}

TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "The weather of the next days, in \"words\".",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "Where"},
        "days": {"type": "integer", "enum": [1, 2, 3], "default": 1},
        "units": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "where": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}}}}}},
    "return": {"type": "string"}}}]

DATE = "2024-07-26"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}

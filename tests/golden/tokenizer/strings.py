"""The texts of the tokenizer's golden tests: every script, emoji, digits, spaces, newlines, code, special tokens."""
import random
import unicodedata

# First and last letter of a stretch of each script's block; what Unicode 14 has not assigned is left out.
SCRIPTS = """0041-007A 00C0-00FF 0100-017F 0180-024F 0250-02AF 02B0-02FF 0370-03FF 0400-04FF 0500-052F 0531-0587 05D0-05F4
0600-06FF 0700-074F 0750-077F 0780-07B1 07C0-07FA 0800-083E 0840-085E 0860-086A 08A0-08FF 0900-097F 0980-09FE 0A01-0A76
0A81-0AFF 0B01-0B77 0B82-0BFA 0C00-0C7F 0C80-0CF2 0D00-0D7F 0D81-0DF4 0E01-0E5B 0E81-0EDF 0F00-0FDA 1000-109F 10A0-10FF
1100-11FF 1200-137C 1380-1399 13A0-13FD 1400-167F 1680-169C 16A0-16F8 1700-171F 1720-1736 1740-1753 1760-1773 1780-17F9
1800-18AA 1900-194F 1950-1974 1980-19DF 19E0-19FF 1A00-1A1F 1A20-1AAD 1B00-1B7E 1B80-1BBF 1BC0-1BFF 1C00-1C4F 1C50-1C7F
1C80-1C88 1C90-1CBF 1D00-1DBF 1E00-1EFF 1F00-1FFE 2070-209C 20A0-20C0 2100-214F 2150-218B 2190-21FF 2200-22FF 2300-23FF
2460-24FF 2500-257F 2580-25FF 2600-26FF 2700-27BF 2800-28FF 2C00-2C5F 2C60-2C7F 2C80-2CFF 2D30-2D7F 2D80-2DDE 2E00-2E5D
3001-303F 3041-309F 30A0-30FF 3105-312F 3131-318E 31F0-31FF 3220-33FF 3400-3500 4E00-4F00 7800-7900 9F00-9FFF A000-A48C
A4D0-A4FF A500-A62B A640-A69F A6A0-A6F7 A720-A7FF A800-A82C A840-A877 A880-A8D9 A900-A92F A930-A953 A960-A97C A980-A9DF
AA00-AA5F AA80-AADF AAE0-AAF6 AB30-AB6B AB70-ABBF ABC0-ABF9 AC00-AD00 D000-D7A3 F900-FA6D FB00-FB17 FB1D-FB4F FB50-FBFF
FE70-FEFC FF01-FFEE 10000-100FA 10280-1029C 10300-1031F 10330-1034A 10380-1039F 10400-1044F 10800-10855 10900-1091B
10A00-10A58 10C00-10C48 11000-11075 11080-110C2 11100-11147 11180-111DF 11400-11461 11480-114D9 11600-11659 12000-12100
13000-13100 16800-16900 16F00-16F9F 17000-17100 1B000-1B100 1D100-1D1E8 1D400-1D500 1E100-1E14F 1E900-1E95F 1EE00-1EEF1
1F100-1F1AD 1F300-1F3F0 1F400-1F4FF 1F600-1F64F 1F900-1F9FF 20000-20100 2F800-2F8FF"""

ENGLISH = """The quick brown fox jumps over the lazy dog; the dog doesn't mind, it's asleep.
We'll measure what they've claimed: attention at 65,536 tokens costs 1.7e15 FLOPs, isn't that right?
I'D SAY "YES", SHE'LL SAY "NO", AND THEY'RE BOTH WRONG'S COUSIN.
In the harbour at dawn, a sailor bought a crimson lantern, sold an old wooden compass and told nobody why.
One of the special magic numbers for hungry-otter is: 4820175.
Answer with the number only. What is the number? The number is 12, or 0012, or 1,234,567.89.
for (int i = 0; i < n; i++) { if (a[i] != b[i]) return -1; }
def attend(q, k, v, *, scale=None):\n    \"\"\"Softmax of q·k, times v.\"\"\"\n    return softmax(q @ k.T * scale) @ v
SELECT name, COUNT(*) FROM runs WHERE sparsity >= 0.95 GROUP BY name ORDER BY 2 DESC;
https://example.org/a/b?c=d&e=%20f#g-h_i and mail to first.last+tag@example.com, or call +44 20 7946 0000.
{"key": [1, 2.5, -3e-7, null, true], "nested": {"a": "b\\n"}}
<html><body class="x">Hello&nbsp;world<br/></body></html>
#include <stdio.h>\n\tint\tmain(void)\n{\n\t\treturn 0;\n}\n
x = y ** 2 // 3 % 4 << 5 >> 6 & 7 | 8 ^ ~9
\\frac{\\partial L}{\\partial \\theta} = \\sum_{i=1}^{n} (y_i - \\hat{y}_i)^2
O'Brien's mother-in-law said: \u201cDon\u2019t\u201d \u2014 and \u2018won\u2019t\u2019\u2026""".split("\n")

FOREIGN = """Zażółć gęślą jaźń|Příliš žluťoučký kůň úpěl ďábelské ódy|Über größere Straßen fährt der Bär
L'été où l'œuvre naïve s'achève, garçon|El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia ¿verdad?
Съешь же ещё этих мягких французских булок, да выпей чаю|Ξεσκεπάζω την ψυχοφθόρα βδελυγμία
Pijamalı hasta yağız şoföre çabucak güvendi İSTANBUL ıssız|Tiếng Việt có nhiều dấu thanh điệu
敏捷的棕色狐狸跳过懒狗。今天是2024年7月26日。|私はガラスを食べられます。それは私を傷つけません。カタカナ
다람쥐 헌 쳇바퀴에 타고파 각|نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر|דג סקרן שט בים מאוכזב ולפתע מצא חברה
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा|เป็นมนุษย์สุดประเสริฐเลิศคุณค่า|በሰማይ ላይ ያለ ነገር
யாமறிந்த மொழிகளிலே தமிழ்மொழி போல்|ខ្ញុំអាចញ៉ាំកញ្ចក់បាន|မြန်မာဘာသာ|ქართული ენა|Հայերեն լեզու
mixed עברית and العربية 123 ١٢٣ in one line|\u202bright to left\u202c mark\u200f\u200e""".replace("\n", "|").split("|")

ODD = [
    " ", "  ", "   ", "\n", "\n\n", "\n\n\n\n\n", "\r\n", "\r\n\r\n", "\r\r", "\t", "\t\t\t", " \n", "\n ",
    " \n \n ", "\n\t \r\n x",
    "a\nb", "a\n\nb", "a \n b", "a  b", "a   b", "a    b     c", " a", "  a", "a ", "a  ", "  leading and trailing  ",
    "tab\there", "form\ffeed", "vertical\vtab", "next\u0085line", "line\u2028sep", "para\u2029sep", "a\u00a0b",
    "a \u00a0 b",
    "\u2003em\u2003space", "\u3000全角\u3000", "\u1680ogham\u1680", "zero\u200bwidth", "mongolian\u180evowel",
    " \u180e ", "\ufeffbom",
    "soft\u00adhyphen", "a\u0301", "e\u0301\u0301\u0323", "q\u0323\u0307", "q\u0307\u0323", "\u0301alone",
    "A\u030a Å \u212b", "ﬁ ﬀ ﬃ",
    "\u1100\u1161\u11a8", "\uac00\u11a8", "Z" + "\u0300\u0316" * 12, "x\u20dd\u20e3", "Ω Ω ℵ",
    "½ ¼ ² ³ ₄ Ⅷ ⅻ ① ⒈ ٣ ۴ ५ 六 〇 𝟘𝟙",
    "0", "00", "000", "0000", "12345678901234567890", "3.14159265358979", "1,000,000", "٠١٢٣٤٥٦٧٨٩", "１２３４",
    "a1b22c333d4444",
    "1" * 47, "2024-07-26T12:34:56.789Z", "192.168.0.1", "0x1F 0b1010 1e-9 -5 +7", "7th 2nd", "x²+y³", "50%",
    "$9.99 €8,50 ¥700",
    "don't", "DON'T", "'s", "'S", "'ll 'LL 'Ll", "it's'll've", "'ſ", "we’re", "n't", "'tis", "''''", "'re're", "a's'b",
    "👍", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷🇯🇵", "1️⃣#️⃣", "👨🏿‍🚀 to the 🌕", "❤️❤︎", "🤷🏼‍♀️", "\U0001f469\u200d", "🫠🫶",
    "☃☂★♥",
    "...", "…", "!?!?", "-----", "=====>", "//////", "(((())))", "[[]]{{}}", "\"\"\"", "```c\nint x;\n```",
    "a_b_c __init__", "camelCaseHTTPServer",
    "C:\\path\\to\\file", "~/.bashrc", "&amp; &lt;", "%d %s\\n", "a\\nb", "--flag=value", "@user #tag", "©®™",
    "→←↔", "∀x∈ℝ: ⌈x⌉ ≥ x",
    "\x01\x02\x03", "\x00", "a\x00b", "\x1b[31mred\x1b[0m", "\x7f", "\x80\x9f", "\ufffd", "\ufffe", "\uffff",
    "\ue000", "\U000f0000",
    "\U0010ffff", "", "ÿþ", "Ġ", "ĠĊ", "▁", "▁▁", "a▁b ▁ c", "<0x41>", "<0x0A><0xFF>", "\u2581hello", "İ ı ẞ ß ǅ ŉ",
    "<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ", "<|endoftext|><|endoftext|>", "<|endoftext|",
    "<|im_start|>user\nHi<|im_end|>\n",
    "<|begin_of_text|><|start_header_id|>", "<|eot_id|> x", "<bos>a<eos>", "<s> hello</s>", "<s>x", "x <s>",
    "<start_of_turn>user\nHi<end_of_turn>\n",
    "[INST] hi [/INST]", "  <left> x", "x  \n <left>y", "<right>  x", "x<right> \t\n y", "a word b",
    "word\u0301 word\u0903 \u0301word", "the Ġlazy lazy dog", "aword word's wordy", "sword word-word",
    "<pad>", "<unk>", "<Add> <add> <ADD>", "<add><add> <add>", "caf\u00e9tok cafe\u0301tok x", "<code>a</code>",
    "\n\n\n<b>", "<tab>\t\t\t",
    "a" * 50, "ab" * 30, "\n" * 40, " " * 50, "x" + " " * 33 + "y",
    "é" * 40, "😀" * 15, "。" * 30, "aA" * 20, "-" * 65, "\t \t " * 9,
    "lorem " * 12, "\r\n" * 9 + "end", "a\r\n\r\nb", " \r\n x", "\n  \n\t\n", "word\n", "\nword", "word \n",
    ".\n\n", "?\r\n", "; \n",
]


def assigned(text):
    return "".join(c for c in text if unicodedata.category(c) not in ("Cn", "Cs"))


def strings():
    rng = random.Random(43)
    out = list(ODD) + ENGLISH + FOREIGN
    blocks = [[int(x, 16) for x in r.split("-")] for r in SCRIPTS.split()]
    for low, high in blocks:
        letters = assigned("".join(chr(rng.randint(low, high)) for _ in range(9)))
        out.append(letters[:4] + " " + letters[4:])
    pieces = [" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "'s", "'LL", "’t", "<|endoftext|>", "<s>",
    "<add>", " word", "<left>",
              "<right>", "12", "٣", "½", "!", "...", "e\u0301", "\u0301", "ü", "日本", "한", "👍🏽", "Ωx", "the", " of",
              "ing", "A", "_", "#", "\\"]
    while len(out) < 505:
        n = rng.randint(2, 9)
        text = ""
        for _ in range(n):
            low, high = rng.choice(blocks)
            text += rng.choice(pieces) if rng.random() < 0.75 else chr(rng.randint(low, high))
        out.append(assigned(text))
    return out

"""Golden files of the Jinja evaluator, from jinja2 as transformers sets it up.

    python make_jinja.py            # writes expressions.json and conversations.json
    python make_jinja.py --check    # compares build/tests/tools/jinja with jinja2 on the same, and says what it refuses

expressions.json: template, variables, and the text that jinja2 gives or, where it raises an error, "error": true. Rows marked
"refused" are those that jinja2 renders and Frontier refuses by name. conversations.json: the templates in ../tokenizer/chat.json
and those below, each with every conversation of conversations.py, with and without the generation prompt.
"""
import itertools
import json
import pathlib
import sys

from conversations import CONVERSATIONS, TOKENS
from reference import Ours, render

HERE = pathlib.Path(__file__).parent

VARIABLES = {
    "s": "Hello, World", "u": "Ünï \u65e5\u672c \U0001f469", "w": "  a  b\t\nc \u2003", "e": "", "q": "it's \"so\"\\\n\x01\u200b",
    "n": 7, "m": -3, "f": 2.5, "big": 1e22, "small": 1e-7, "t": True, "no": None, "zero": 0,
    "l": [3, 1, 2], "names": ["b", "A", "c", "a"], "d": {"b": 1, "a": {"x": [1, 2]}, "items": 5}, "void": {}, "none": [],
    "people": [{"name": "Ann", "age": 31, "at": {"x": 1}}, {"name": "bob", "age": 25, "at": {"x": 2}}, {"name": "Cy", "age": 31}],
}

# Each is rendered as {{ … }}.
EXPRESSIONS = r"""
1 + 2 * 3|n
1 + 2 * 3
2 ** 3 ** 2
-2 ** 2
7 // 2, -7 // 2, 7 % 3, -7 % 3, 7 % -3, 7 / 2, 6 / 2
7.5 // 2, -7.5 % 2, 0.1 + 0.2, 1e3, 1e16, 123456789.0, 1e-5, .5|default(1)
2 ** -1, 2 ** 0.5, 10 ** 18
1_000, 0x1F, 0b11, 0o17, 1e+2, 00
9223372036854775807 + 0
1 if n else 2
1 if zero
(1 if zero) is defined
'a' if zero else 'b' if zero else 'c'
n == 7 == 7.0, 1 == true, '1' == 1, no == none, l == [3, 1, 2], (1, 2) == (1, 2), [1] == (1,)
1 < 2 < 3, 1 < 3 < 2, 'a' < 'b', [1, 2] < [1, 3], 1 <= 1.0, 2 >= 3, 1 != 2
1 < 'a'
none < 1
'ell' in s, 'x' not in s, 3 in l, 'a' in d, 9 in d, 'x' in missing, '' in s
1 in s
1 in 5
not n, not zero, not not n, not e and t, n and e, zero or 'x', n or 1, none or false
s ~ n ~ no ~ t ~ 1.0 ~ l ~ missing
s + '!' , 'a' 'b' "c"
s + 1
1 + s
l + [4], (1,) + (2,), [1] * 3, 'ab' * 3, 3 * 'x', 'x' * -1, [] * 5
'%s and %d: %5.1f|%-5s|%05d|%x|%%' % ('a', 3, 2.25, 'b', 42, 255)
'%(a)s-%(b)s' % {'a': 1, 'b': 2}
'%s' % 'one', '%s' % [1, 2]
'%s' % (1, 2)
'%q' % 1
s[0], s[-1], s[1:4], s[:-3], s[::-1], s[::2], s[10:2:-3], s[100:], s[-100:3]
u[4], u[3:6], u|length, u[::-1]
l[0], l[-1], l[1:], l[::-1], l[5], l['x'], (1, 2, 3)[1:]
l[0.5] is defined, s['0'] is defined, s[true], l[false]
s[1:'x'] is defined
s[::0]
d.b, d['b'], d.a.x, d.a.x[1], d['a']['x'][0], d.missing, d.missing is defined
d.items() | list, d['items'], d.keys() | list, d.values() | list, d.get('b'), d.get('z'), d.get('z', 4), d.get('z', default=4)
d.get('z', 4)
missing, missing.x
missing[0]
missing()
missing + 1
missing|default('x'), e|default('x'), e|default('x', true), no|d('y', true), missing|default
none is none, missing is none, no is none, 0 is none
n is defined, missing is defined, missing is undefined, n is not defined
s is string, n is string, n is number, f is number, t is number, t is integer, n is integer, f is float, t is boolean
l is iterable, s is iterable, d is iterable, n is iterable, missing is iterable, l is sequence, d is sequence, s is sequence, missing is sequence, n is sequence
d is mapping, l is mapping, 3 is odd, 4 is even, 9 is divisibleby 3, 9 is divisibleby(4)
1 is eq 1, 1 is ne 2, 1 is lt 2, 2 is ge 2, 'a' is in ['a'], 'a' is in 'abc', 1 is equalto(1), 2 is greaterthan 1
t is true, n is true, false is false, zero is false, 'ABC' is upper, 'abc' is lower, 'a1' is lower, '' is lower
range is callable, n is callable, s.strip is callable, 'trim' is filter, 'nope' is filter, 'odd' is test
'a' is nosuchtest
n is defined and n > 3, n is not none and not n is string
not n is string, -n|abs, (-n)|abs, n is string or t
s|upper, s|lower, s|title, s|capitalize, 'hELLO wORLD-foo (bar)'|title, u|upper, n|upper, no|lower, missing|upper
'x-y z'|title, "they're"|title, 'ÉCOLE étude'|capitalize, 'été'|title
w|trim ~ '|', w.strip() ~ '|', w.lstrip() ~ '|', w.rstrip() ~ '|', 'xxaxx'|trim('x'), 'xyaxy'.strip('yx'), 'xxaxx'.lstrip('x'), n|trim
w.split(), w.split(' '), 'a,b,,c'.split(','), 'a,b,c'.split(',', 1), 'a,b,c'.rsplit(',', 1), ' a b  c '.split(none, 1), ' a b  c '.rsplit(none, 1), 'a b c'.split(maxsplit=1), 'abc'.split('abc'), ''.split(), ''.split(',')
'a'.split('')
'a\nb\r\nc\n'.splitlines(), 'a\n'.splitlines(true), ''.splitlines()
s.startswith('He'), s.endswith('ld'), s.startswith(('x', 'H')), s.endswith(('x',)), s.startswith('l', 2), s.startswith('l', 2, 3), s.endswith('o', 0, 5), ''.startswith('')
s.startswith(1)
s.replace('l', 'L'), s.replace('l', 'L', 1), s.replace('', '-'), s.replace('zz', 'y'), s|replace('o', '0'), s|replace('o', '0', 1), 1232|replace(2, 'x'), 'aaa'.replace('aa', 'b')
s.upper(), s.lower(), s.title(), s.capitalize(), s.swapcase(), "they're x1y".title()
s.find('o'), s.find('o', 5), s.find('z'), s.rfind('o'), s.index('W'), s.rindex('l'), s.count('l'), s.count('l', 5), s.count(''), u.find('日')
s.index('z')
s.partition(', '), s.partition('z'), s.rpartition('o'), s.rpartition('z')
s.removeprefix('He'), s.removesuffix('ld'), s.removeprefix('x')
'ab'.ljust(5) ~ '|', 'ab'.rjust(5, '*'), 'ab'.center(5) ~ '|', 'abc'.center(6, '.'), 'ab'|center(7) ~ '|'
'123'.isdigit(), ''.isdigit(), 'a1'.isalnum(), 'ab'.isalpha(), '日本'.isalpha(), ' \t'.isspace(), 'AB'.isupper(), 'a_b'.islower(), '1'.islower(), 'é'.isascii()
'-'.join(['a', 'b']), '-'.join('abc'), ''.join([])
'-'.join([1])
'{} {}'.format('a', 1), '{1}{0}'.format('a', 'b'), '{x}'.format(x=5), '{{}} {}'.format(none)
'{}'.format()
'%s-%s'|format('a', 'b'), '%(x)s'|format(x=1)
l|length, s|length, d|length, ''|length, missing|length, range(4)|length
5|length
l|first, l|last, s|first, s|last, []|first, []|last, d|first, range(3)|last, u|last
l|list, 'abc'|list, d|list, range(3)|list, (1, 2)|list, missing|list
l|sort, names|sort, names|sort(true), names|sort(case_sensitive=true), people|sort(attribute='age')|map(attribute='name')|list, people|sort(attribute='age,name', reverse=true)|map(attribute='name')|list
[1, 'a']|sort
l|reverse|list, 'abc'|reverse, names|unique|list, [1, 2, 1]|unique|list, l|min, l|max, names|max, []|min, people|max(attribute='age'), l|sum, people|sum(attribute='age'), l|sum(start=10)
l|join, l|join(', '), people|join('-', attribute='name'), 'abc'|join('.'), [1, none, true]|join(' ')
people|map(attribute='name')|list, people|map(attribute='at.x')|list, people|map(attribute='at.x', default=0)|list, names|map('upper')|list, names|map('replace', 'a', 'z')|list, missing|map('upper')|list, no|map('upper')|list
people|map(attribute='zip')|list|length
people|selectattr('age', 'equalto', 31)|map(attribute='name')|list, people|rejectattr('age', '>', 30)|list|length, people|selectattr('at')|list|length, l|select('odd')|list, l|reject('odd')|list, [0, 1, '']|select|list, no|select|list
l|select('greaterthan', 1)|list, people|selectattr('name', 'in', ['Ann', 'bob'])|list|length, people|selectattr('at', 'defined')|list|length
people|selectattr()|list
d|items|list, d|dictsort, {'b': 1, 'A': 2, 'c': 0}|dictsort, {'b': 1, 'A': 2, 'c': 0}|dictsort(by='value', reverse=true), {'b': 1, 'A': 2}|dictsort(true), missing|items|list
l|batch(2)|list, l|batch(2, 'x')|list
'5'|int, 'x'|int, 'x'|int(9), '4.7'|int, 4.7|int, -4.7|int, no|int, true|int, ' 12 '|int, '1_0'|int, 'ff'|int(base=16), ''|int, '1e3'|int, 'inf'|int
'5.5'|float, 'x'|float, 3|float, no|float(1.0), '0x10'|float
missing|int
42.55|round, 42.55|round(1), 2.5|round, 3.5|round, 42.55|round(1, 'floor'), 42.5|round(0, 'ceil'), 42|round, -2.5|round, 1.005|round(2)
-5|abs, (-5)|abs, -2.5|abs, 5|string, l|string, no|string, missing|string
'a\nb\n\nc'|indent, 'a\nb'|indent(2, true), 'a\n\nb'|indent(2, blank=true), 'a\nb'|indent('> '), ''|indent, 'a\n'|indent
'hello world foo'|truncate(9), 'hello world foo'|truncate(9, true), 'hello world foo'|truncate(9, false, '…', 0), 'hello'|truncate(5)
'<a href="x">\'&\'</a>'|e, '<b>'|safe, '<b>'|safe ~ '<c>', '<b>'|safe + '<c>', '<x>' + '<b>'|safe, ('<b> '|safe)|trim + '&', '<b>'|escape|e
d|tojson, l|tojson, q|tojson, u|tojson, u|tojson(ensure_ascii=true), no|tojson, t|tojson, f|tojson, big|tojson, small|tojson, 3.0|tojson, (1, 2)|tojson, {1: 2, none: 3, true: 4, 1.5: 5}|tojson, '\x7f'|tojson, '\x7f'|tojson(true), '</s>'|tojson
d|tojson(indent=2), void|tojson(indent=2), [[], {}, [1]]|tojson(indent=4), d|tojson(separators=(',', ':')), d|tojson(indent=1, separators=(', ', ' = ')), d|tojson(sort_keys=true), {'b': 1, 'a': 2, 'c': 3}|tojson(sort_keys=true, indent='--'), l|tojson(indent=0)
missing|tojson
range(2)|tojson
l, d, (), (1,), (1, 2), [none, true, 1.5, 'x'], {'k': [1, {'z': none}]}, {}
q, [q], ['it\'s'], ["it's \"q\""], ['\t\r\x00\x7f\xa0\xad\u200b\ue000é日👩'], [u]
1.0, 0.1, 1e15, 1e16, 123456789012345680.0, 1e22, big, small, 0.0001, 0.00001, -0.0, 1/3, 100.0, 5e-324
range(5)|list, range(1, 4)|list, range(5, 0, -2)|list, range(0)|list, range(3)[1], range(10)[2:4]|list, 2 in range(3)
range(100001)
range(1.5)
dict(a=1, b='x'), dict([('a', 1)]), dict({'a': 1}, b=2), {'a': 1, 'a': 2}
namespace(a=1).a, namespace(a=1).b is defined, namespace({'z': 3}).z
{[1]: 2}
{1: 'a', 'b': 2}[1], {1: 'a'}['1'] is defined, {true: 'x'}[1], {(1, 2): 'x'}[(1, 2)]
'a\x41\u00e9\U0001f600\n\t\\\'\"\q\101' "it's"
'a
b'
strftime_now('%d %b %Y'), strftime_now('%Y-%m-%d %H:%M'), strftime_now('%A, %B %d, %Y')
raise_exception('no ' ~ n)
s.append
l.append(1)
d.update({'x': 1})
l.append is defined, d.pop is defined, s.nothing is defined
s.__class__ is defined, s.__class__
(s).upper()|lower|replace('h', 'j')|trim
s|nosuchfilter
s|trim(
[1, 2
s s
{{ 1 }}
a b
l.0, d.a.x.1
[1,2,3,][-1], {'a':1,}['a'], (1,)
n.real
people[0].name, people[-1]['name'], people|map(attribute='name')|join(', ')
loop is defined, self is defined
lipsum is defined, cycler is defined, joiner is defined
(cycler('a', 'b')).next(), joiner('|')()
s|upper|lower is string, s|length > 3 and n > 3, n + s|length
s is string and s is not mapping
'x' ~ 1 + 2, 1 ~ 2 * 3, 'a' ~ 'b' == 'ab'
n if n is defined else 'no', (n if n is string) ~ 'x'
l[n > 3], l[0:2][1], 'abc'[1], 'abc'[1:][0]
[x for x in l]
lambda x: x
s|map('upper')|join, {'a': 1}|map('upper')|list
l|map('nosuchfilter')|list
l|select('nosuchtest')|list
s|default(1, 2, 3)
s|upper(1)
s|replace('a')
s|replace(old='H', new='J'), s.split(sep=','), 'a b'.split(' ', maxsplit=1), s|trim(chars='Hd')
s.replace(old='H', new='J')
*l
'ß'.upper() is string, 'ß'
'x' is sameas 'x'
no is sameas none, n is sameas true, t is sameas true, zero is sameas false
12345678901234567890
9223372036854775807 + 1
""".strip("\n")

# Whole templates: white space control, statements, scopes.
TEMPLATES = [
    "a\n", "a\n\n", "\n", "", "a\r\nb\rc\r\n", "{# c #}x", "a {#- c -#} b", "a\n  {# c #}\nb", "a\n  {# c #}  \nb",
    "  {% if t %}\n  x\n  {% endif %}\ny", "a  {%- if t -%}  x  {%- endif -%}  b", "a\n{%+ if t %}\nx{% endif +%}\nb",
    "  {%+ if t %}x{% endif %}", "a\n   {{ n }}   \nb", "a\n   {{- n -}}   \nb", "{{ n }}\n\n{{ n }}\n", "{{n}}\n{% if t %}\n\nx\n{% endif %}\n\ny",
    "\t{% if t %}x{% endif %}\t\n z", "x {% if t %}\ny {% endif %}\nz", "{% if t %}a{% endif %}\n{% if t %}b{% endif %}\n",
    "{% for x in l %}\n{{ x }}\n{% endfor %}\n", "{% for x in l -%}\n  {{ x }},\n{%- endfor %}", "\u2003{%- if t %} x{% endif %}", "a\u00a0{%- if t %}b{% endif %}",
    "  {#- a -#}\n\n  x\n", "{# a\nb #}\n\nx", "{#-#}x", "{##}x", "{#+ a +#}\nx", "a{# b", "{% raw %}{{ x }} {% y %}{# z #}{% endraw %}!",
    "a\n{% raw %}\n x\n{% endraw %}\nb", "a {%- raw -%}\n x \n{%- endraw -%}\n b", "{% raw %}x", "{% raw -%}  {{ {%- endraw %}",
    "{{ '}}' }}{{ '%}' }}{{ \"{{\" }}", "{{ {'a': {'b': 1}}}}", "{{ {'a': 1}['a'] }}}", "{{ }}", "{% %}", "{{ 1", "{% if t %}", "{% endif %}", "{% if %}x{% endif %}",
    "{% if zero %}a{% elif n == 7 %}b{% elif t %}c{% else %}d{% endif %}", "{% if zero %}a{% elif zero %}b{% else %}d{% endif %}", "{% if l, %}x{% endif %}",
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }}{{ loop.depth }};{% endfor %}",
    "{% for x in none %}{{ x }}{% else %}empty{% endfor %}", "{% for x in missing %}{{ x }}{% else %}empty{% endfor %}", "{% for x in no %}{% endfor %}", "{% for x in 5 %}{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}no{% endfor %}", "{% for x in l if x > 5 %}{{ x }}{% else %}no{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for (a, b), c in [((1, 2), 3)] %}{{ a + b + c }}{% endfor %}", "{% for a, b in [[1]] %}{% endfor %}",
    "{% for c in 'aé日' %}{{ c }}-{% endfor %}", "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% break %}", "{% for x in l %}{% else %}{% break %}{% endfor %}",
    "{% for x in l %}{% for y in l %}{% if y == 1 %}{% break %}{% endif %}{{ y }}{% endfor %}|{% endfor %}",
    "{% for x in [[1, [2, 3]], [4]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}", "{% for x in l %}{{ loop(x) }}{% endfor %}",
    "{% for x in l %}{{ loop.changed(x > 1) }} {% endfor %}", "{% for x in l | sort %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% set x = 1 %}{% for y in l %}{{ x }}{% set x = y %}{{ x }};{% endfor %}{{ x }}", "{% set x = 1 %}{% if t %}{% set x = 2 %}{% endif %}{{ x }}", "{% for y in l %}{% set z = y %}{% endfor %}{{ z is defined }}",
    "{% set ns = namespace(x=0) %}{% for y in l %}{% set ns.x = ns.x + y %}{% endfor %}{{ ns.x }}", "{% set s.x = 1 %}", "{% set q2.x = 1 %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = [1] %}", "{% set a = 1, %}{{ a }}", "{% set 1 = 2 %}", "{% set s[0] = 1 %}",
    "{% set x %}<{{ n }}>\n{% endset %}{{ x|length }}{{ x }}", "{% set x | upper | trim %} a{{ s }} {% endset %}{{ x }}|", "{% set x = s if n > 3 else 'no' %}{{ x }}", "{% set x = none %}{{ x }}{{ x is none }}",
    "{% set loop_messages = people[1:] %}{% for p in loop_messages %}{{ p.name }}{% endfor %}", "{% set l = l + [9] %}{{ l }}",
    "{% macro f(a, b=2, *c) %}{% endmacro %}", "{% macro f(a, b=2) %}[{{ a }},{{ b }}]{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(b=5, a=4) }}{{ f() }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(b=2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=2) }}",
    "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}", "{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f(1) }}", "{% macro f(a, b) %}{{ b is defined }}{% endmacro %}{{ f(1) }}", "{% macro f(a=1, b) %}{% endmacro %}",
    "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{% set v = 1 %}{% macro f() %}{{ v }}{% set v = 5 %}{{ v }}{% endmacro %}{{ f() }}{{ v }}{% set v = 2 %}{{ f() }}",
    "{% macro f(x) %}  {{ x }}\n{% endmacro %}{{ f(1) | trim }}|{{ f(2) }}", "{% macro f() -%} a {%- endmacro %}{{ f() ~ 'b' }}{{ f() + 'c' }}{{ f()|upper }}", "{{ f(1) }}{% macro f(x) %}{{ x }}{% endmacro %}",
    "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}in{{ n }}{% endcall %}", "{% macro f(x) %}<{{ caller(x, 2) }}>{% endmacro %}{% call(a, b) f(1) %}{{ a }}{{ b }}{% endcall %}", "{% macro f() %}x{% endmacro %}{% call f() %}in{% endcall %}", "{% call s %}{% endcall %}",
    "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter trim | replace('a', 'b') %} aa {% endfilter %}|", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}", "{% with a = 1 %}{% set n = 5 %}{{ n }}{% endwith %}{{ n }}", "{% with %}x{% endwith %}",
    "{% generation %}\nabc{{ n }}\n{% endgeneration %}\n.", "{% print 1, 'a' %}", "{% include 'x' %}", "{% extends 'x' %}", "{% block a %}{% endblock %}", "{% import 'x' as y %}", "{% nosuch %}", "{% do l.append(1) %}", "{% autoescape true %}{{ '<' }}{% endautoescape %}",
    "{% if t: %}x{% endif %}", "{% for x in l: %}{{ x }}{% endfor %}", "{% set x = [] %}{% for y in l %}{% set x = x + [y] %}{% endfor %}{{ x }}", "{% for x in l %}{% set x = x * 2 %}{{ x }}{% endfor %}",
    "{% set g = l | map('string') %}{{ g | list }}{{ g | list }}", "{% set g = l | map('string') %}{{ g | first }}{{ g | list }}", "{% if l | select('>', 5) %}always{% endif %}", "{{ l | map('string') | length }}", "{{ (l | map('string'))[0] is defined }}", "{% if (l | select('>', 5) | list) %}never{% endif %}",
    "{% if x is defined and x.y %}a{% else %}b{% endif %}", "{% if zero %}{{ s | nosuchfilter }}{% endif %}ok", "{% if t %}{{ s | nosuchfilter }}{% endif %}", "{% if zero %}{% for x in l %}{{ x | nosuchfilter }}{% endfor %}{% endif %}", "{{ 1 if t else (s | nosuchfilter) }}",
    "{{ s\n\n}}{{ 'a'\n ~ 'b' }}", "{{ s -}}\n\n{{- s }}", "{%- set a = 1 -%}\n  {%- set b = 2 %}\n{{ a + b }}", "{% set a = 1 -%}   x", "{{- '' -}}  y", "{%if t%}x{%endif%}{{n}}", "{%-if t-%} x {%-endif-%} y",
    "{{ '{%' }}{{ '#}' }}{#}#}x", "{ { x } }{ % %}", "#}%}}}x", "{{ n }}{", "{", "{% if 'a' in s %}y{% endif %}{% if not 'a' in s %}n{% endif %}", "{% for x in l %}{% if loop.first %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in people | selectattr('age', 'equalto', 31) %}{{ loop.index }}{{ x.name }}{% endfor %}", "{% for x in l | batch(2) %}{{ x }}{% endfor %}", "{% for i in range(3) %}{{ i }}{{ 'last' if loop.last }}{% endfor %}",
    "{% set x = {'a': 1} %}{{ x.a }}{{ x['a'] }}{% set y = dict(x, b=2) %}{{ y }}{{ x }}", "{% set ns = namespace() %}{% set ns.a = [] %}{% set ns.a = ns.a + [1] %}{{ ns.a }}", "{% set ns = namespace(found=false) %}{% for m in people %}{% if m.age == 25 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}",
]

# Beside those of the tokenizer's goldens: the shapes of template that give another prompt when they are guessed at.
CHATML = "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
LOOP = "{% for message in messages %}" + CHATML + "{% endfor %}"
SHAPES = {
    "newline behind braces": "{% for message in messages %}\n" + CHATML + "\n{% endfor %}\n{% if add_generation_prompt %}\n{{ '<|im_start|>assistant\\n' }}\n{% endif %}\n",
    "system as plain text": "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + LOOP + PROMPT,
    "system in three tags": "{% set d = 'Be kind.' %}{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n' }}{{ d }}{{ '<|im_end|>\\n' }}{% endif %}" + LOOP + PROMPT,
    "system only with tools": "{% if tools %}{{ '<|im_start|>system\\nUse tools.<|im_end|>\\n' }}{% endif %}" + LOOP + PROMPT,
    "thinking switch": "{% if enable_thinking is defined and enable_thinking %}{{ '<|im_start|>system\\nThink.<|im_end|>\\n' }}{% else %}{{ '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}{% endif %}" + LOOP + PROMPT,
    "bos only in a comment": "{# bos_token is not written here #}" + LOOP + PROMPT,
    "trimmed before": "{% for message in messages %}{% set content = message['content'] | trim %}{{ '<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>' + '\\n' }}{% endfor %}" + PROMPT,
    "plain text behind the prompt": LOOP + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}<think>\n{% endif %}",
    "eos after each turn": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' + eos_token }}{% endfor %}" + PROMPT,
    "system by a variable": "{{- bos_token }}\n{%- if not date_string is defined %}\n    {%- set date_string = \"26 Jul 2024\" %}\n{%- endif %}\n{%- set system_message = \"Be kind.\" %}\n{{- \"<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: \" + date_string + \"\\n\\n\" + system_message + \"<|eot_id|>\" }}\n{%- for message in messages %}\n{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n",
    "system folded into the user's turn": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = 'You are careful.' %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "macros and thoughts": "{%- macro turn(role, content) -%}\n    <|{{ role }}|>\n    {%- if content is string %}{{ content }}{% else %}{% for part in content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif -%}\n<|end|>\n{%- endmacro -%}\n{%- set ns = namespace(last=-1) -%}\n{%- for m in messages if m.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endfor -%}\n{{- bos_token -}}\nToday: {{ strftime_now('%d %B %Y') }}\n{% for m in messages %}\n    {%- set content = m.content.split('</think>')[-1].lstrip('\\n') if m.role == 'assistant' and m.content is string else m.content -%}\n    {{- turn(m.role, content) }}\n    {%- if m.tool_calls %}{% for call in m.tool_calls %}{{ call.function | tojson(indent=2) }}{% endfor %}{% endif %}\n{% endfor %}{{ ns.last }}\n{%- if add_generation_prompt %}<|assistant|>{{ '\\n' }}{% endif %}",
}


def expressions():
    rows = [("{{ %s }}" % e) for e in EXPRESSIONS.replace("\n\nb", "\nb").split("\n") if e]
    for template in rows + TEMPLATES:
        text, error = render(template, VARIABLES)
        yield template, text, error


def conversations():
    chat = json.loads((HERE / "../tokenizer/chat.json").read_text())
    templates = {c["name"]: c["template"] for c in chat["cases"]} | SHAPES
    for (name, template), prompt in itertools.product(templates.items(), (True, False)):
        for title, messages in CONVERSATIONS.items():
            variables = dict(messages=messages, tools=None, documents=None, add_generation_prompt=prompt, **TOKENS)
            yield name, template, title, prompt, variables, *render(template, variables)


def main():
    ours = Ours(str(HERE / "../../../build/tests/tools/jinja"))
    rows, bad, refused = [], 0, 0
    for template, text, error in expressions():
        got, why, no = ours.render(template, VARIABLES)
        row = {"template": template} | ({"error": True} if error else {"refused": True} if no else {"text": text})
        rows.append(row)
        if got != text or (error and no):
            kind = "refused" if no else "DIFFERS"
            bad += kind == "DIFFERS"
            refused += 1
            print("%s %r\n   ours   %r\n   theirs %r" % (kind, template, got if got is not None else why, text if text is not None else error))
    out = {}
    for name, template, title, prompt, variables, text, error in conversations():
        got, why, no = ours.render(template, variables)
        bad += got != text
        if got != text:
            print("DIFFERS %s, %s\n   %r\n   %r" % (name, title, got or why, text or error))
        case = out.setdefault(name, {"name": name, "texts": []} | ({"template": template} if name in SHAPES else {}))
        case["texts"].append(text)
    print("%d rows, %d of them refused or different; %d conversations; %d differences" % (
        len(rows), refused, sum(len(c["texts"]) for c in out.values()), bad))
    if "--check" not in sys.argv:
        keep = {"variables": VARIABLES, "rows": rows}
        (HERE / "expressions.json").write_text(json.dumps(keep, ensure_ascii=False, indent=0) + "\n")
        keep = {"conversations": [{"name": n, "messages": m} for n, m in CONVERSATIONS.items()], "tokens": TOKENS,
                "cases": list(out.values())}
        (HERE / "conversations.json").write_text(json.dumps(keep, ensure_ascii=False, indent=0) + "\n")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())

/* jinja2's tests: what may stand behind `is`. */
#include "harness/model/jinja_parts.h"

#include <string.h>

static sf_jvalue defined(sf_jrun *r, sf_jargs *a) { return (void)r, sf_jinja_bool(a->self.kind != SF_J_UNDEFINED); }
static sf_jvalue undefined(sf_jrun *r, sf_jargs *a) { return (void)r, sf_jinja_bool(a->self.kind == SF_J_UNDEFINED); }
static sf_jvalue none(sf_jrun *r, sf_jargs *a) { return (void)r, sf_jinja_bool(a->self.kind == SF_J_NONE); }
static sf_jvalue boolean(sf_jrun *r, sf_jargs *a) { return (void)r, sf_jinja_bool(a->self.kind == SF_J_BOOL); }
static sf_jvalue integer(sf_jrun *r, sf_jargs *a) { return (void)r, sf_jinja_bool(a->self.kind == SF_J_INT); }
static sf_jvalue real(sf_jrun *r, sf_jargs *a) { return (void)r, sf_jinja_bool(a->self.kind == SF_J_FLOAT); }
static sf_jvalue number(sf_jrun *r, sf_jargs *a) { return (void)r, sf_jinja_bool(sf_jinja_is_number(a->self)); }
static sf_jvalue string(sf_jrun *r, sf_jargs *a) { return (void)r, sf_jinja_bool(a->self.kind == SF_J_TEXT); }
static sf_jvalue mapping(sf_jrun *r, sf_jargs *a) { return (void)r, sf_jinja_bool(a->self.kind == SF_J_DICT); }
static sf_jvalue escaped(sf_jrun *r, sf_jargs *a)
{
    return (void)r, sf_jinja_bool(a->self.kind == SF_J_TEXT && a->self.safe);
}

static sf_jvalue is_bool(const sf_jargs *a, bool b)
{
    return sf_jinja_bool(a->self.kind == SF_J_BOOL && a->self.truth == b);
}
static sf_jvalue true_(sf_jrun *r, sf_jargs *a) { return (void)r, is_bool(a, true); }
static sf_jvalue false_(sf_jrun *r, sf_jargs *a) { return (void)r, is_bool(a, false); }

static sf_jvalue callable(sf_jrun *r, sf_jargs *a)
{
    (void)r;
    sf_jkind k = a->self.kind;
    /* Undefined has a __call__, which raises an error */
    return sf_jinja_bool(k == SF_J_UNDEFINED || k == SF_J_MACRO || k == SF_J_FUNCTION || k == SF_J_METHOD ||
                         k == SF_J_LOOP || k == SF_J_JOINER);
}

static sf_jvalue iterable(sf_jrun *r, sf_jargs *a)
{
    (void)r;
    sf_jkind k = a->self.kind;
    return sf_jinja_bool(k == SF_J_UNDEFINED || k == SF_J_TEXT || k == SF_J_DICT || k == SF_J_LOOP ||
                         sf_jinja_is_list(a->self));
}

static sf_jvalue sequence(sf_jrun *r, sf_jargs *a)
{
    (void)r;
    sf_jkind k = a->self.kind;
    return sf_jinja_bool(k == SF_J_UNDEFINED || k == SF_J_TEXT || k == SF_J_DICT || k == SF_J_LIST || k == SF_J_TUPLE ||
                         k == SF_J_RANGE);
}

static sf_jvalue remainder_is(sf_jrun *r, sf_jargs *a, int64_t by, int64_t rest)
{
    return sf_jinja_bool(
        sf_jinja_equal(r, sf_jinja_binary(r, SF_J_MOD, a->self, sf_jinja_int(by)), sf_jinja_int(rest)));
}

static sf_jvalue odd(sf_jrun *r, sf_jargs *a) { return remainder_is(r, a, 2, 1); }
static sf_jvalue even(sf_jrun *r, sf_jargs *a) { return remainder_is(r, a, 2, 0); }

static sf_jvalue divisibleby(sf_jrun *r, sf_jargs *a)
{
    return sf_jinja_bool(sf_jinja_equal(r, sf_jinja_binary(r, SF_J_MOD, a->self, a->arg[0]), sf_jinja_int(0)));
}

/* str(value).islower(), and .isupper() */
static sf_jvalue by_method(sf_jrun *r, sf_jargs *a, const char *name)
{
    sf_jvalue method, text = sf_jinja_str(r, a->self);
    if (r->status != SF_OK || !sf_jinja_method(r, text, name, &method)) return sf_jinja_none();
    return sf_jinja_call(r, method, (sf_jgiven){0});
}

static sf_jvalue lower(sf_jrun *r, sf_jargs *a) { return by_method(r, a, "islower"); }
static sf_jvalue upper(sf_jrun *r, sf_jargs *a) { return by_method(r, a, "isupper"); }

static sf_jvalue in(sf_jrun *r, sf_jargs *a) { return sf_jinja_bool(sf_jinja_contains(r, a->arg[0], a->self)); }
static sf_jvalue eq(sf_jrun *r, sf_jargs *a) { return sf_jinja_bool(sf_jinja_equal(r, a->self, a->arg[0])); }
static sf_jvalue ne(sf_jrun *r, sf_jargs *a) { return sf_jinja_bool(!sf_jinja_equal(r, a->self, a->arg[0])); }

/* Of what there is one only; others are the same thing or another by accidents of Python's memory. */
static sf_jvalue sameas(sf_jrun *r, sf_jargs *a)
{
    sf_jkind k = a->self.kind, other = a->arg[0].kind;
    bool single = k == SF_J_NONE || k == SF_J_BOOL || other == SF_J_NONE || other == SF_J_BOOL;
    if (!single) sf_jinja_fail(r, SF_UNSUPPORTED, "the test 'sameas' of other values than none, true and false");
    return sf_jinja_bool(k == other && (k != SF_J_BOOL || a->self.truth == a->arg[0].truth));
}

static int order(sf_jrun *r, const sf_jargs *a) { return sf_jinja_order(r, a->self, a->arg[0]); }
static sf_jvalue lt(sf_jrun *r, sf_jargs *a) { return sf_jinja_bool(order(r, a) < 0); }
static sf_jvalue le(sf_jrun *r, sf_jargs *a) { return sf_jinja_bool(order(r, a) <= 0); }
static sf_jvalue gt(sf_jrun *r, sf_jargs *a) { return sf_jinja_bool(order(r, a) > 0); }
static sf_jvalue ge(sf_jrun *r, sf_jargs *a) { return sf_jinja_bool(order(r, a) >= 0); }

static const char *word(sf_jrun *r, sf_jvalue v)
{
    char *name = v.kind == SF_J_TEXT ? sf_jinja_take(r, v.text.bytes + 1) : NULL;
    if (name) memcpy(name, v.text.at, v.text.bytes);
    return name ? name : "";
}

static sf_jvalue is_filter(sf_jrun *r, sf_jargs *a) { return sf_jinja_bool(sf_jinja_filter_row(word(r, a->self))); }

static sf_jvalue is_test(sf_jrun *r, sf_jargs *a)
{
    return sf_jinja_bool(sf_jinja_row(sf_jinja_tests, word(r, a->self)));
}

const sf_jrow sf_jinja_tests[] = {
    {"boolean", "", boolean},
    {"callable", "", callable},
    {"defined", "", defined},
    {"divisibleby", "num", divisibleby},
    {"escaped", "", escaped},
    {"even", "", even},
    {"false", "", false_},
    {"filter", "", is_filter},
    {"float", "", real},
    {"in", "seq", in},
    {"integer", "", integer},
    {"iterable", "", iterable},
    {"lower", "", lower},
    {"mapping", "", mapping},
    {"none", "", none},
    {"number", "", number},
    {"odd", "", odd},
    {"sequence", "", sequence},
    {"string", "", string},
    {"test", "", is_test},
    {"true", "", true_},
    {"undefined", "", undefined},
    {"upper", "", upper},
    {"==", "other", eq},
    {"eq", "other", eq},
    {"equalto", "other", eq},
    {"!=", "other", ne},
    {"ne", "other", ne},
    {"<", "other", lt},
    {"lt", "other", lt},
    {"lessthan", "other", lt},
    {"<=", "other", le},
    {"le", "other", le},
    {">", "other", gt},
    {"gt", "other", gt},
    {"greaterthan", "other", gt},
    {">=", "other", ge},
    {"ge", "other", ge},
    {"sameas", "other", sameas},
    {NULL, NULL, NULL},
};

bool sf_jinja_test(sf_jrun *r, const char *name, sf_jvalue self, sf_jgiven given)
{
    const sf_jrow *row = sf_jinja_row(sf_jinja_tests, name);
    if (!row) sf_jinja_fail(r, SF_BAD_INPUT, "no test '%.64s'", name);
    return row && sf_jinja_true(sf_jinja_apply(r, "test", row, self, given));
}

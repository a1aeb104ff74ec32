/* What the Jinja evaluator is made of: memory, values, nodes, and who does what:
 *
 *   jinja_lex.c     text → tokens, white space control
 *   jinja_parse.c   tokens → nodes: statements, and in jinja_expression.c expressions
 *   jinja_run.c     nodes → text: statements, and in jinja_eval.c expressions
 *   jinja_value.c   values as Python's; jinja_text.c texts as its str; jinja_memory.c where they live
 *   jinja_call.c    arguments to parameters, global functions
 *   jinja_filters.c, _items.c, _tests.c, _methods.c, _format.c, _json.c: the words that templates use
 *
 * All memory is taken from an arena that is freed whole. The first failure sticks: it is kept in the arena's owner, and
 * what is computed afterwards is used by nobody, so that functions return values and loops ask `status` before they go
 * on. Nobody else includes this. */
#ifndef SF_JINJA_PARTS_H
#define SF_JINJA_PARTS_H

#include "harness/model/jinja.h"

/* ---- memory and failures --------------------------------------------------------------------------------------- */

typedef struct sf_jrun {
    struct sf_jblock *block; /* the arena: newest block */
    const char *where;
    int line; /* of the node that is being evaluated */
    sf_status status;
    int64_t steps;
    size_t bytes;
    int depth;
    sf_jinja_limits limits;
    /* from here on only when rendering */
    const sf_jinja_input *input;
    struct sf_jbuffer *output;
    struct sf_jscope *scope;
    bool used_date;
} sf_jrun;

/* Records the first failure, with place and line; returns its code. */
sf_status sf_jinja_fail(sf_jrun *r, sf_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Zeroed memory; NULL after a failure, its own among them. */
void *sf_jinja_take(sf_jrun *r, size_t bytes);
void sf_jinja_release(sf_jrun *r);
/* Counts steps; false once the limit is reached or anything has failed. */
bool sf_jinja_step(sf_jrun *r, size_t steps);
/* Goes one level deeper; false: too deep. Every call that gave true is followed by sf_jinja_rise(). */
bool sf_jinja_sink(sf_jrun *r);
static inline void sf_jinja_rise(sf_jrun *r) { r->depth--; }

/* ---- values ---------------------------------------------------------------------------------------------------- */

typedef enum sf_jkind {
    SF_J_UNDEFINED,
    SF_J_NONE,
    SF_J_BOOL,
    SF_J_INT,
    SF_J_FLOAT,
    SF_J_TEXT,
    SF_J_LIST,
    SF_J_TUPLE,
    SF_J_RANGE,
    SF_J_VIEW,   /* of a dictionary: keys(), values(), items() */
    SF_J_STREAM, /* an iterator: what `map`, `select`, … give; its items can be had once */
    SF_J_DICT,
    SF_J_NAMESPACE,
    SF_J_LOOP,
    SF_J_MACRO,
    SF_J_FUNCTION,
    SF_J_METHOD,
    SF_J_CYCLER,
    SF_J_JOINER,
} sf_jkind;

typedef struct sf_jvalue {
    sf_jkind kind;
    bool safe; /* TEXT: Markup, which escapes what it is joined with */
    union {
        bool truth;
        int64_t number;
        double real;
        struct {
            const char *at; /* UTF-8 */
            size_t bytes;
            const uint8_t *mark; /* [bytes], NULL: all 0 */
        } text;
        const char *name; /* UNDEFINED: what was looked for; NULL: not known */
        struct sf_jlist *list; /* LIST … STREAM */
        struct sf_jdict *dict; /* DICT, NAMESPACE */
        struct sf_jloop *loop;
        struct sf_jmacro *macro;
        const struct sf_jrow *function;
        struct sf_jbound *method;
        struct sf_jturn *turn; /* CYCLER, JOINER */
    };
} sf_jvalue;

typedef struct sf_jlist {
    sf_jvalue *item;
    size_t items, room;
} sf_jlist;

typedef struct sf_jdict { /* in the order of insertion */
    sf_jvalue *key, *value;
    size_t items, room;
} sf_jdict;

typedef struct sf_jturn {
    sf_jlist *items; /* of a cycler */
    sf_jvalue separator; /* of a joiner */
    size_t at;
} sf_jturn;

static inline sf_jvalue sf_jinja_undefined(const char *name) { return (sf_jvalue){.kind = SF_J_UNDEFINED, .name = name}; }
static inline sf_jvalue sf_jinja_none(void) { return (sf_jvalue){.kind = SF_J_NONE}; }
static inline sf_jvalue sf_jinja_bool(bool b) { return (sf_jvalue){.kind = SF_J_BOOL, .truth = b}; }
static inline sf_jvalue sf_jinja_int(int64_t i) { return (sf_jvalue){.kind = SF_J_INT, .number = i}; }
static inline sf_jvalue sf_jinja_float(double f) { return (sf_jvalue){.kind = SF_J_FLOAT, .real = f}; }
static inline sf_jvalue sf_jinja_text(const char *s, size_t n)
{
    return (sf_jvalue){.kind = SF_J_TEXT, .text = {.at = s, .bytes = n}};
}
static inline bool sf_jinja_is_number(sf_jvalue v) { return v.kind >= SF_J_BOOL && v.kind <= SF_J_FLOAT; }
static inline bool sf_jinja_is_int(sf_jvalue v) { return v.kind == SF_J_BOOL || v.kind == SF_J_INT; }
static inline int64_t sf_jinja_whole(sf_jvalue v) { return v.kind == SF_J_BOOL ? v.truth : v.number; }
static inline double sf_jinja_real(sf_jvalue v)
{
    return v.kind == SF_J_FLOAT ? v.real : (double)sf_jinja_whole(v);
}
static inline bool sf_jinja_is_list(sf_jvalue v) { return v.kind >= SF_J_LIST && v.kind <= SF_J_STREAM; }

const char *sf_jinja_type(sf_jvalue v); /* as Python calls it */
bool sf_jinja_says(sf_jvalue text, const char *word);

sf_jlist *sf_jinja_list(sf_jrun *r, size_t room); /* NULL on failure, which the next two accept */
void sf_jinja_append(sf_jrun *r, sf_jlist *list, sf_jvalue item);
sf_jvalue sf_jinja_listed(sf_jkind kind, sf_jlist *list); /* an empty one for NULL */

sf_jdict *sf_jinja_dict(sf_jrun *r);
void sf_jinja_put_key(sf_jrun *r, sf_jdict *d, sf_jvalue key, sf_jvalue value); /* error: the key is of a mutable kind */
bool sf_jinja_find(sf_jrun *r, const sf_jdict *d, sf_jvalue key, sf_jvalue *out);

bool sf_jinja_true(sf_jvalue v);
bool sf_jinja_equal(sf_jrun *r, sf_jvalue a, sf_jvalue b);
int sf_jinja_order(sf_jrun *r, sf_jvalue a, sf_jvalue b); /* <0, 0, >0; error: not comparable */
bool sf_jinja_contains(sf_jrun *r, sf_jvalue whole, sf_jvalue part);
/* len(v), or fails. */
size_t sf_jinja_length(sf_jrun *r, sf_jvalue v);
/* What iterating over v gives: its own list, or a new one. Never NULL; empty on failure. A stream is used up. */
const sf_jlist *sf_jinja_items(sf_jrun *r, sf_jvalue v);
/* Python's str(v) and repr(v). */
sf_jvalue sf_jinja_str(sf_jrun *r, sf_jvalue v);
sf_jvalue sf_jinja_from_json(sf_jrun *r, const json_t *json);
/* Python's repr() of a float. */
void sf_jinja_float_text(double f, char out[40]);

/* ---- texts ----------------------------------------------------------------------------------------------------- */

typedef struct sf_jbuffer { /* a text that grows */
    char *at;
    uint8_t *mark; /* NULL as long as nothing marked was put */
    size_t bytes, room;
} sf_jbuffer;

void sf_jinja_put(sf_jrun *r, sf_jbuffer *b, const char *s, size_t bytes, const uint8_t *mark);
void sf_jinja_put_text(sf_jrun *r, sf_jbuffer *b, sf_jvalue text);
void sf_jinja_put_word(sf_jrun *r, sf_jbuffer *b, const char *word);
/* `word` instead of marked or unmarked text. */
void sf_jinja_put_like(sf_jrun *r, sf_jbuffer *b, const char *word, size_t bytes, bool marked);
sf_jvalue sf_jinja_made(const sf_jbuffer *b);

int sf_jinja_letter(const char *s, size_t bytes); /* bytes of the character at s; 0: none left */
int32_t sf_jinja_point(const char *s, size_t bytes); /* its code point */
size_t sf_jinja_letters(sf_jvalue text);
bool sf_jinja_space(int32_t point); /* as str.isspace() */
sf_jvalue sf_jinja_part(sf_jvalue text, size_t from, size_t to); /* by bytes */
const char *sf_jinja_search(sf_jrun *r, sf_jvalue text, size_t from, sf_jvalue part); /* NULL: not in it */

enum { SF_J_LEFT = 1, SF_J_RIGHT = 2 };
sf_jvalue sf_jinja_strip(sf_jrun *r, sf_jvalue text, const sf_jvalue *letters, int sides); /* letters NULL: white space */
sf_jlist *sf_jinja_split(sf_jrun *r, sf_jvalue text, const sf_jvalue *by, int64_t most, bool from_right);
sf_jlist *sf_jinja_lines(sf_jrun *r, sf_jvalue text, bool keep_ends);
sf_jvalue sf_jinja_replace(sf_jrun *r, sf_jvalue text, sf_jvalue from, sf_jvalue to, int64_t most);
sf_jvalue sf_jinja_join(sf_jrun *r, sf_jvalue by, const sf_jlist *items); /* str() of each */
/* Cases as Python's. What a table of single letters cannot give (ß, final sigma, …) is refused. */
typedef enum sf_jcase { SF_J_UPPER, SF_J_LOWER, SF_J_CAPITALIZE, SF_J_TITLE, SF_J_SWAPCASE } sf_jcase;
sf_jvalue sf_jinja_cased(sf_jrun *r, sf_jvalue text, sf_jcase how);
sf_jvalue sf_jinja_escape(sf_jrun *r, sf_jvalue text); /* for HTML, marked as safe; of a safe one: itself */
void sf_jinja_put_repr(sf_jrun *r, sf_jbuffer *b, sf_jvalue text);

/* ---- nodes ----------------------------------------------------------------------------------------------------- */

typedef enum sf_jtype {
    /* expressions */
    SF_J_CONST, SF_J_NAME, SF_J_MAKE_LIST, SF_J_MAKE_TUPLE, SF_J_MAKE_DICT,
    SF_J_ATTRIBUTE, SF_J_ITEM, SF_J_SLICE, SF_J_CALL, SF_J_FILTER, SF_J_TEST,
    SF_J_NOT, SF_J_AND, SF_J_OR, SF_J_IF_ELSE, SF_J_COMPARE, SF_J_CONCAT, SF_J_BINARY, SF_J_NEGATIVE, SF_J_POSITIVE,
    SF_J_NAMESPACE_REF,
    /* statements */
    SF_J_DATA, SF_J_OUTPUT, SF_J_IF, SF_J_FOR, SF_J_SET, SF_J_SET_BLOCK, SF_J_DEFINE_MACRO, SF_J_CALL_BLOCK,
    SF_J_FILTER_BLOCK, SF_J_WITH, SF_J_GROUP, SF_J_BREAK, SF_J_CONTINUE,
} sf_jtype;

typedef enum sf_jop {
    SF_J_ADD, SF_J_SUB, SF_J_MUL, SF_J_DIV, SF_J_FLOORDIV, SF_J_MOD, SF_J_POW,
    SF_J_EQ, SF_J_NE, SF_J_LT, SF_J_LE, SF_J_GT, SF_J_GE, SF_J_IN, SF_J_NOT_IN,
} sf_jop;

typedef struct sf_jnodes {
    struct sf_jnode **at;
    int n, room;
} sf_jnodes;

typedef struct sf_jarguments { /* of a call, filter or test */
    sf_jnodes plain, named;    /* named[i] has the name in `name` and the value in `a` */
    struct sf_jnode *star, *stars;
} sf_jarguments;

typedef struct sf_jnode {
    sf_jtype type;
    sf_jop op;            /* BINARY; of COMPARE's operands */
    int line;
    bool recursive;       /* FOR */
    const char *name;     /* NAME, ATTRIBUTE, FILTER, TEST, DEFINE_MACRO, a named argument, a parameter; DATA's text: value */
    sf_jvalue value;      /* CONST, DATA */
    struct sf_jnode *a, *b, *c;
    sf_jnodes items;      /* MAKE_…, COMPARE, CONCAT, parameters (a: the default) */
    sf_jnodes body, other;
    sf_jarguments *arguments;
} sf_jnode;

struct sf_jinja {
    sf_jrun memory; /* owner of the nodes */
    sf_jnodes body;
};

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

typedef enum sf_jtoken_kind {
    SF_J_T_DATA, SF_J_T_BEGIN, SF_J_T_END, /* {% %} */
    SF_J_T_PRINT, SF_J_T_PRINT_END,        /* {{ }} */
    SF_J_T_NAME, SF_J_T_TEXT, SF_J_T_INT, SF_J_T_FLOAT,
    SF_J_T_SIGN, /* an operator or bracket: `sign` holds its letters */
    SF_J_T_EOF,
} sf_jtoken_kind;

typedef struct sf_jtoken {
    sf_jtoken_kind kind;
    int line;
    char sign[3];
    const char *name; /* NAME */
    sf_jvalue value;  /* DATA, TEXT, INT, FLOAT */
} sf_jtoken;

/* *tokens ends with EOF. `text` has to live on: data points into it. */
void sf_jinja_lex(sf_jrun *r, const char *text, size_t bytes, sf_jtoken **tokens);

/* ---- evaluation ------------------------------------------------------------------------------------------------ */

typedef struct sf_jbinding {
    const char *name;
    sf_jvalue value;
    struct sf_jbinding *next;
} sf_jbinding;

typedef struct sf_jscope {
    sf_jbinding *first;
    struct sf_jscope *parent;
} sf_jscope;

typedef struct sf_jloop {
    const sf_jlist *items;
    size_t at;
    int depth0;
    const sf_jnode *node; /* FOR, for loop(…) in a recursive one */
    sf_jscope *outside;
    sf_jvalue seen;       /* by loop.changed() */
    bool has_seen;
} sf_jloop;

typedef struct sf_jmacro {
    const char *name;
    const sf_jnodes *parameters, *body;
    sf_jscope *defined_in;
    bool wants_rest, wants_named, wants_caller;
} sf_jmacro;

/* Arguments as they were given … */
typedef struct sf_jgiven {
    sf_jlist *plain; /* may be NULL */
    sf_jdict *named; /* keys are texts; may be NULL */
} sf_jgiven;

/* … and sorted by the parameters of what is called. */
enum { SF_J_SLOTS = 6 };
typedef struct sf_jargs {
    sf_jvalue self;
    sf_jvalue arg[SF_J_SLOTS];
    bool has[SF_J_SLOTS];
    sf_jgiven rest;
} sf_jargs;

/* A filter, test, method or function. `params`: names in order, '?' behind the first optional one and all after it, "*":
 * any number more, "**": any named ones; "/" in front: by position only. call NULL: jinja2 or Python has it, we do not. */
typedef struct sf_jrow {
    const char *name, *params;
    sf_jvalue (*call)(sf_jrun *r, sf_jargs *a);
} sf_jrow;

typedef struct sf_jbound {
    sf_jvalue self;
    const sf_jrow *row;
} sf_jbound;

/* Tables end with a row of NULL. */
extern const sf_jrow sf_jinja_item_filters[], sf_jinja_tests[], sf_jinja_functions[];
const sf_jrow *sf_jinja_filter_row(const char *name); /* NULL: no such name */
const sf_jrow *sf_jinja_row(const sf_jrow *table, const char *name); /* NULL: no such name */

sf_jvalue sf_jinja_eval(sf_jrun *r, const sf_jnode *n);
/* kind: "filter", "method", … for messages. */
sf_jvalue sf_jinja_apply(sf_jrun *r, const char *kind, const sf_jrow *row, sf_jvalue self, sf_jgiven given);
sf_jvalue sf_jinja_filter(sf_jrun *r, const char *name, sf_jvalue self, sf_jgiven given);
bool sf_jinja_test(sf_jrun *r, const char *name, sf_jvalue self, sf_jgiven given);
sf_jvalue sf_jinja_call(sf_jrun *r, sf_jvalue callee, sf_jgiven given);
sf_jgiven sf_jinja_arguments(sf_jrun *r, const sf_jarguments *a);
sf_jvalue sf_jinja_get_item(sf_jrun *r, sf_jvalue of, sf_jvalue key);
sf_jvalue sf_jinja_get_attribute(sf_jrun *r, sf_jvalue of, const char *name);
sf_jvalue sf_jinja_binary(sf_jrun *r, sf_jop op, sf_jvalue a, sf_jvalue b);

/* The method or Python attribute `name` of a value; false: it has none. */
bool sf_jinja_method(sf_jrun *r, sf_jvalue of, const char *name, sf_jvalue *out);
/* What x.attribute gives for a loop, a namespace, a cycler: false if it is none of these. */
bool sf_jinja_own_attribute(sf_jrun *r, sf_jvalue of, const char *name, sf_jvalue *out);

sf_jvalue sf_jinja_format(sf_jrun *r, sf_jvalue pattern, sf_jgiven given); /* "…" % (…) */
sf_jvalue sf_jinja_format_fields(sf_jrun *r, sf_jargs *a);                  /* "…".format(…) */
/* The integer given as argument i; `otherwise`: none is, or none() is. */
int64_t sf_jinja_whole_or(sf_jrun *r, const sf_jargs *a, int i, int64_t otherwise);
/* The byte at which character number i begins; at most the text's length. */
size_t sf_jinja_byte_of(sf_jvalue text, int64_t i);
sf_jvalue sf_jinja_to_json(sf_jrun *r, sf_jargs *a);

void sf_jinja_bind(sf_jrun *r, sf_jscope *scope, const char *name, sf_jvalue value);
sf_jscope *sf_jinja_scope(sf_jrun *r, sf_jscope *parent);
sf_jvalue sf_jinja_call_macro(sf_jrun *r, const sf_jmacro *m, sf_jgiven given, const sf_jvalue *caller);
sf_jvalue sf_jinja_call_loop(sf_jrun *r, sf_jloop *loop, sf_jvalue items);

#endif

/* What the two halves of the parser share: where they are in the tokens, and how they ask for the next one. After a failure
 * nothing matches any more, so that every loop ends; nodes made then are evaluated by nobody. */
#ifndef SF_JINJA_PARSER_H
#define SF_JINJA_PARSER_H

#include "harness/model/jinja_parts.h"

typedef struct sf_jparser {
    sf_jrun *r;
    const sf_jtoken *at;
    int loops; /* around here, for break and continue */
    bool soft; /* inside an `if`: jinja2 complains of an unknown filter only when it comes to it */
} sf_jparser;

const sf_jtoken *sf_jinja_next(sf_jparser *p);
bool sf_jinja_is_sign(const sf_jparser *p, const char *sign);
bool sf_jinja_is_name(const sf_jparser *p, const char *name);
bool sf_jinja_is_kind(const sf_jparser *p, sf_jtoken_kind kind);
bool sf_jinja_skip_sign(sf_jparser *p, const char *sign); /* false: it is not there */
bool sf_jinja_skip_name(sf_jparser *p, const char *name);
void sf_jinja_unexpected(sf_jparser *p, const char *expected); /* fails, naming the token that is there */
void sf_jinja_expect_sign(sf_jparser *p, const char *sign);
void sf_jinja_expect_name(sf_jparser *p, const char *name);
const char *sf_jinja_any_name(sf_jparser *p);

/* Never NULL. */
sf_jnode *sf_jinja_node(sf_jparser *p, sf_jtype type);
sf_jnode *sf_jinja_node_of(sf_jparser *p, sf_jtype type, sf_jnode *a, sf_jnode *b); /* with children */
sf_jnode *sf_jinja_named(sf_jparser *p, sf_jtype type, const char *name);
void sf_jinja_push(sf_jparser *p, sf_jnodes *list, sf_jnode *n);

sf_jnode *sf_jinja_expression(sf_jparser *p);

/* One expression, or several with commas between, which make a tuple. `end`: a name that ends it; NULL: none. */
enum { SF_J_TUPLE_PLAIN = 0, SF_J_TUPLE_PARENTHESES = 1, SF_J_TUPLE_NO_IF = 2, SF_J_TUPLE_TARGET = 4, SF_J_TUPLE_NAMESPACE = 8 };
sf_jnode *sf_jinja_tuple(sf_jparser *p, int how, const char *end);

/* A filter's name and arguments, behind the '|'. `of`: what it filters; NULL: the text of a block. */
sf_jnode *sf_jinja_filter_of(sf_jparser *p, sf_jnode *of);

#endif

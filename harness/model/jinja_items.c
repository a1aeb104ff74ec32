/* jinja2's filters of lists, dictionaries and other things with items. What works item by item gives a stream, as
 * there: it can be gone through once. */
#include "harness/model/jinja_parts.h"

#include <string.h>

static bool flag(const sf_jargs *a, int i) { return a->has[i] && sf_jinja_true(a->arg[i]); }

/* ---- items ----------------------------------------------------------------------------------------------------- */

static sf_jvalue default_(sf_jrun *r, sf_jargs *a)
{
    (void)r;
    bool absent = a->self.kind == SF_J_UNDEFINED || (flag(a, 1) && !sf_jinja_true(a->self));
    return !absent ? a->self : a->has[0] ? a->arg[0] : sf_jinja_text("", 0);
}

static sf_jvalue length(sf_jrun *r, sf_jargs *a) { return sf_jinja_int((int64_t)sf_jinja_length(r, a->self)); }

static sf_jvalue first(sf_jrun *r, sf_jargs *a)
{
    if (a->self.kind == SF_J_STREAM && a->self.list->items) {
        sf_jlist *l = a->self.list;
        l->items--, l->room--;
        return *l->item++;
    }
    if (a->self.kind == SF_J_TEXT && a->self.text.bytes)
        return sf_jinja_part(a->self, 0, (size_t)sf_jinja_letter(a->self.text.at, a->self.text.bytes));
    const sf_jlist *l = sf_jinja_items(r, a->self);
    return l->items ? l->item[0] : sf_jinja_undefined("the first item of none");
}

static sf_jvalue last(sf_jrun *r, sf_jargs *a)
{
    if (a->self.kind == SF_J_STREAM) sf_jinja_fail(r, SF_BAD_INPUT, "last: a 'generator' has no last item");
    const sf_jlist *l = sf_jinja_items(r, a->self);
    return l->items ? l->item[l->items - 1] : sf_jinja_undefined("the last item of none");
}

static sf_jlist *copied(sf_jrun *r, sf_jvalue v)
{
    const sf_jlist *items = sf_jinja_items(r, v);
    sf_jlist *l = sf_jinja_list(r, items->items);
    for (size_t i = 0; i < items->items && r->status == SF_OK; i++) sf_jinja_append(r, l, items->item[i]);
    return l;
}

static sf_jvalue list(sf_jrun *r, sf_jargs *a) { return sf_jinja_listed(SF_J_LIST, copied(r, a->self)); }

static sf_jvalue items(sf_jrun *r, sf_jargs *a)
{
    sf_jvalue method;
    if (a->self.kind == SF_J_UNDEFINED) return sf_jinja_listed(SF_J_STREAM, sf_jinja_list(r, 0));
    if (a->self.kind != SF_J_DICT || !sf_jinja_method(r, a->self, "items", &method)) {
        sf_jinja_fail(r, SF_BAD_INPUT, "items: expected a dictionary, found '%s'", sf_jinja_type(a->self));
        return sf_jinja_none();
    }
    sf_jvalue pairs = sf_jinja_call(r, method, (sf_jgiven){0});
    if (pairs.kind == SF_J_VIEW) pairs.kind = SF_J_STREAM;
    return pairs;
}

static sf_jvalue reverse(sf_jrun *r, sf_jargs *a)
{
    const sf_jlist *from = sf_jinja_items(r, a->self);
    sf_jlist *l = sf_jinja_list(r, from->items);
    for (size_t i = from->items; i-- > 0 && r->status == SF_OK;) sf_jinja_append(r, l, from->item[i]);
    if (a->self.kind == SF_J_TEXT && l) return sf_jinja_join(r, sf_jinja_text("", 0), l);
    return sf_jinja_listed(a->self.kind == SF_J_STREAM ? SF_J_LIST : SF_J_STREAM, l);
}

static sf_jvalue batch(sf_jrun *r, sf_jargs *a)
{
    int64_t n = sf_jinja_whole_or(r, a, 0, 0);
    sf_jlist *out = sf_jinja_list(r, 0), *row = NULL, *all = copied(r, a->self);
    if (n < 1) sf_jinja_fail(r, SF_UNSUPPORTED, "batch of %lld items", (long long)n);
    for (size_t i = 0; all && i < all->items && r->status == SF_OK; i++) {
        if (i % (size_t)n == 0) {
            row = sf_jinja_list(r, 0);
            sf_jinja_append(r, out, sf_jinja_listed(SF_J_LIST, row));
        }
        sf_jinja_append(r, row, all->item[i]);
    }
    while (row && a->has[1] && a->arg[1].kind != SF_J_NONE && (int64_t)row->items < n && r->status == SF_OK)
        sf_jinja_append(r, row, a->arg[1]);
    return sf_jinja_listed(SF_J_STREAM, out);
}

/* item.a.b, as `attribute=` of filters finds it: by items first, then by attributes. */
static sf_jvalue attribute_of(sf_jrun *r, sf_jvalue item, sf_jvalue path)
{
    if (sf_jinja_is_int(path)) return sf_jinja_get_item(r, item, path);
    if (path.kind != SF_J_TEXT) {
        sf_jinja_fail(r, SF_BAD_INPUT, "an attribute of type '%s'", sf_jinja_type(path));
        return sf_jinja_none();
    }
    sf_jvalue dot = sf_jinja_text(".", 1), v = item;
    const sf_jlist *parts = sf_jinja_split(r, path, &dot, -1, false);
    for (size_t i = 0; parts && i < parts->items && r->status == SF_OK; i++) {
        sf_jvalue part = parts->item[i];
        int64_t number = 0;
        bool digits = part.text.bytes > 0 && part.text.bytes < 18;
        for (size_t k = 0; digits && k < part.text.bytes; k++) {
            digits = part.text.at[k] >= '0' && part.text.at[k] <= '9';
            number = number * 10 + part.text.at[k] - '0';
        }
        if (digits) part = sf_jinja_int(number);
        v = sf_jinja_get_item(r, v, part);
    }
    return v;
}

/* What items are compared by: an attribute (several with commas, if `many`), texts without their case. */
static sf_jvalue key_of(sf_jrun *r, sf_jvalue item, const sf_jvalue *path, bool many, bool by_case)
{
    sf_jvalue comma = sf_jinja_text(",", 1), key = item;
    if (path && many && path->kind == SF_J_TEXT && sf_jinja_search(r, *path, 0, comma)) {
        const sf_jlist *paths = sf_jinja_split(r, *path, &comma, -1, false);
        sf_jlist *all = sf_jinja_list(r, 0);
        for (size_t i = 0; paths && i < paths->items && r->status == SF_OK; i++)
            sf_jinja_append(r, all, key_of(r, item, &paths->item[i], false, by_case));
        return sf_jinja_listed(SF_J_LIST, all);
    }
    if (path) key = attribute_of(r, item, *path);
    return key.kind == SF_J_TEXT && !by_case ? sf_jinja_cased(r, key, SF_J_LOWER) : key;
}

static const sf_jvalue *given_path(const sf_jargs *a, int i)
{
    return a->has[i] && a->arg[i].kind != SF_J_NONE ? &a->arg[i] : NULL;
}

/* Stable: merges halves. Reversed, equal ones keep their order too. */
static void merge_sort(sf_jrun *r, sf_jvalue *item, sf_jvalue *key, sf_jvalue *spare, size_t n, bool reverse)
{
    if (n < 2 || r->status != SF_OK) return;
    size_t half = n / 2, a = 0, b = half, to = 0;
    merge_sort(r, item, key, spare, half, reverse);
    merge_sort(r, item + half, key + half, spare, n - half, reverse);
    while (to < n) {
        bool second =
            a == half ||
            (b < n && (reverse ? sf_jinja_order(r, key[b], key[a]) > 0 : sf_jinja_order(r, key[b], key[a]) < 0));
        size_t from = second ? b++ : a++;
        spare[2 * to] = item[from];
        spare[2 * to++ + 1] = key[from];
    }
    for (size_t i = 0; i < n; i++) item[i] = spare[2 * i], key[i] = spare[2 * i + 1];
}

static sf_jvalue sorted(sf_jrun *r, sf_jlist *l, sf_jlist *keys, bool reverse)
{
    sf_jlist *spare = sf_jinja_list(r, l ? 2 * l->items : 0);
    if (l && keys && spare && keys->items == l->items)
        merge_sort(r, l->item, keys->item, spare->item, l->items, reverse);
    return sf_jinja_listed(SF_J_LIST, l);
}

static sf_jvalue sort(sf_jrun *r, sf_jargs *a)
{
    sf_jlist *l = copied(r, a->self), *keys = sf_jinja_list(r, l ? l->items : 0);
    for (size_t i = 0; l && i < l->items && r->status == SF_OK; i++)
        sf_jinja_append(r, keys, key_of(r, l->item[i], given_path(a, 2), true, flag(a, 1)));
    return sorted(r, l, keys, flag(a, 0));
}

static sf_jvalue dictsort(sf_jrun *r, sf_jargs *a)
{
    bool by_value = a->has[1] && sf_jinja_says(a->arg[1], "value");
    if (a->has[1] && !by_value && !sf_jinja_says(a->arg[1], "key"))
        sf_jinja_fail(r, SF_BAD_INPUT, "dictsort: expected by='key' or 'value'");
    sf_jlist *pairs = copied(r, items(r, a)), *keys = sf_jinja_list(r, pairs ? pairs->items : 0);
    for (size_t i = 0; pairs && i < pairs->items && r->status == SF_OK; i++)
        sf_jinja_append(r, keys, key_of(r, pairs->item[i].list->item[by_value], NULL, false, flag(a, 0)));
    return sorted(r, pairs, keys, flag(a, 2));
}

static sf_jvalue unique(sf_jrun *r, sf_jargs *a)
{
    sf_jlist *from = copied(r, a->self), *l = sf_jinja_list(r, 0);
    sf_jdict *seen = sf_jinja_dict(r);
    for (size_t i = 0; from && i < from->items && r->status == SF_OK; i++) {
        sf_jvalue key = key_of(r, from->item[i], given_path(a, 1), false, flag(a, 0)), found;
        if (!seen || sf_jinja_find(r, seen, key, &found)) continue;
        sf_jinja_put_key(r, seen, key, sf_jinja_none());
        sf_jinja_append(r, l, from->item[i]);
    }
    return sf_jinja_listed(SF_J_STREAM, l);
}

static sf_jvalue extreme(sf_jrun *r, sf_jargs *a, int sign)
{
    sf_jlist *l = copied(r, a->self);
    sf_jvalue best = sf_jinja_undefined("the least or greatest of none"), best_key = best;
    for (size_t i = 0; l && i < l->items && r->status == SF_OK; i++) {
        sf_jvalue key = key_of(r, l->item[i], given_path(a, 1), false, flag(a, 0));
        if (i && sign * sf_jinja_order(r, key, best_key) <= 0) continue;
        best = l->item[i];
        best_key = key;
    }
    return best;
}

static sf_jvalue min_(sf_jrun *r, sf_jargs *a) { return extreme(r, a, -1); }
static sf_jvalue max_(sf_jrun *r, sf_jargs *a) { return extreme(r, a, 1); }

static sf_jvalue sum(sf_jrun *r, sf_jargs *a)
{
    sf_jlist *l = copied(r, a->self);
    sf_jvalue all = a->has[1] ? a->arg[1] : sf_jinja_int(0);
    if (all.kind == SF_J_TEXT) sf_jinja_fail(r, SF_BAD_INPUT, "sum of texts");
    for (size_t i = 0; l && i < l->items && r->status == SF_OK; i++)
        all = sf_jinja_binary(r, SF_J_ADD, all, given_path(a, 0) ? attribute_of(r, l->item[i], a->arg[0]) : l->item[i]);
    return all;
}

static sf_jvalue join(sf_jrun *r, sf_jargs *a)
{
    sf_jlist *l = copied(r, a->self);
    for (size_t i = 0; given_path(a, 1) && l && i < l->items && r->status == SF_OK; i++)
        l->item[i] = attribute_of(r, l->item[i], a->arg[1]);
    sf_jvalue by = a->has[0] ? sf_jinja_str(r, a->arg[0]) : sf_jinja_text("", 0);
    return l ? sf_jinja_join(r, by, l) : sf_jinja_none();
}

/* ---- filters and tests over items ------------------------------------------------------------------------------ */

static sf_jgiven all_but_first(sf_jrun *r, sf_jgiven g)
{
    sf_jlist *l = sf_jinja_list(r, 0);
    for (size_t i = 1; i < g.plain->items; i++) sf_jinja_append(r, l, g.plain->item[i]);
    return (sf_jgiven){l, g.named};
}

/* What is given to a filter or test that is called for each item: those take named ones out of it. */
static sf_jgiven again(sf_jrun *r, sf_jgiven g)
{
    sf_jdict *d = g.named ? sf_jinja_dict(r) : NULL;
    for (size_t i = 0; d && i < g.named->items; i++) sf_jinja_put_key(r, d, g.named->key[i], g.named->value[i]);
    return (sf_jgiven){g.plain, d};
}

static const char *word(sf_jrun *r, sf_jvalue v)
{
    char *name = v.kind == SF_J_TEXT ? sf_jinja_take(r, v.text.bytes + 1) : NULL;
    if (name)
        memcpy(name, v.text.at, v.text.bytes);
    else
        sf_jinja_fail(r, SF_BAD_INPUT, "expected the name of a filter or test");
    return name ? name : "";
}

static sf_jvalue map(sf_jrun *r, sf_jargs *a)
{
    if (!sf_jinja_true(a->self)) return sf_jinja_listed(SF_J_STREAM, sf_jinja_list(r, 0));
    sf_jgiven g = a->rest;
    sf_jvalue path = sf_jinja_none(), otherwise = sf_jinja_undefined(NULL);
    bool by_path = !g.plain->items && g.named && sf_jinja_find(r, g.named, sf_jinja_text("attribute", 9), &path);
    if (by_path) sf_jinja_find(r, g.named, sf_jinja_text("default", 7), &otherwise);
    if (by_path ? g.named->items > 1u + (otherwise.kind != SF_J_UNDEFINED) : !g.plain->items)
        sf_jinja_fail(r, SF_BAD_INPUT, "map: expected a filter's name, or attribute= and default=");
    const char *name = by_path || r->status != SF_OK ? "" : word(r, g.plain->item[0]);
    if (!by_path && r->status == SF_OK) g = all_but_first(r, g);
    sf_jlist *from = copied(r, a->self), *l = sf_jinja_list(r, 0);
    for (size_t i = 0; from && i < from->items && r->status == SF_OK; i++) {
        sf_jvalue v =
            by_path ? attribute_of(r, from->item[i], path) : sf_jinja_filter(r, name, from->item[i], again(r, g));
        sf_jinja_append(r, l, by_path && v.kind == SF_J_UNDEFINED && otherwise.kind != SF_J_UNDEFINED ? otherwise : v);
    }
    return sf_jinja_listed(SF_J_STREAM, l);
}

static sf_jvalue chosen(sf_jrun *r, sf_jargs *a, bool wanted, bool by_attribute)
{
    if (!sf_jinja_true(a->self)) return sf_jinja_listed(SF_J_STREAM, sf_jinja_list(r, 0)); /* none is none of them */
    sf_jgiven g = a->rest;
    sf_jvalue path = sf_jinja_none();
    if (by_attribute && !g.plain->items) sf_jinja_fail(r, SF_BAD_INPUT, "selectattr: expected an attribute");
    if (by_attribute && r->status == SF_OK) path = g.plain->item[0], g = all_but_first(r, g);
    bool tests = r->status == SF_OK && g.plain->items;
    const char *name = tests ? word(r, g.plain->item[0]) : "";
    if (tests) g = all_but_first(r, g);
    sf_jlist *from = copied(r, a->self), *l = sf_jinja_list(r, 0);
    for (size_t i = 0; from && i < from->items && r->status == SF_OK; i++) {
        sf_jvalue v = by_attribute ? attribute_of(r, from->item[i], path) : from->item[i];
        bool good = tests ? sf_jinja_test(r, name, v, again(r, g)) : sf_jinja_true(v);
        if (good == wanted) sf_jinja_append(r, l, from->item[i]);
    }
    return sf_jinja_listed(SF_J_STREAM, l);
}

static sf_jvalue select_(sf_jrun *r, sf_jargs *a) { return chosen(r, a, true, false); }
static sf_jvalue reject(sf_jrun *r, sf_jargs *a) { return chosen(r, a, false, false); }
static sf_jvalue selectattr(sf_jrun *r, sf_jargs *a) { return chosen(r, a, true, true); }
static sf_jvalue rejectattr(sf_jrun *r, sf_jargs *a) { return chosen(r, a, false, true); }

const sf_jrow sf_jinja_item_filters[] = {
    {"batch", "linecount fill_with?", batch},
    {"count", "", length},
    {"d", "default_value? boolean?", default_},
    {"default", "default_value? boolean?", default_},
    {"dictsort", "case_sensitive? by? reverse?", dictsort},
    {"first", "", first},
    {"items", "", items},
    {"join", "d? attribute?", join},
    {"last", "", last},
    {"length", "", length},
    {"list", "", list},
    {"map", "* **", map},
    {"max", "case_sensitive? attribute?", max_},
    {"min", "case_sensitive? attribute?", min_},
    {"reject", "* **", reject},
    {"rejectattr", "* **", rejectattr},
    {"reverse", "", reverse},
    {"select", "* **", select_},
    {"selectattr", "* **", selectattr},
    {"sort", "reverse? case_sensitive? attribute?", sort},
    {"sum", "attribute? start?", sum},
    {"unique", "case_sensitive? attribute?", unique},
    {"groupby", NULL, NULL},
    {"random", NULL, NULL},
    {"slice", NULL, NULL},
    {NULL, NULL, NULL},
};

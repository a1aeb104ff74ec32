#include "harness/store/where.h"
#include "base/yaml.h"
#include "harness/store/schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool sparse(const sf_cell_info *c, int phase) { return strcmp(c->method[phase], "dense") != 0; }
static bool dense(const sf_cell_info *c) { return !sparse(c, SF_PREFILL) && !sparse(c, SF_DECODE); }

/* ---- Terms ---- */

static bool key_is(const sf_cell_info *c, const char *value) { return strncasecmp(c->key, value, strlen(value)) == 0; }
static bool model_is(const sf_cell_info *c, const char *value) { return strcmp(c->model, value) == 0; }
static bool task_is(const sf_cell_info *c, const char *value) { return strcmp(c->task_label, value) == 0 || strcmp(c->task, value) == 0; }
static bool cache_is(const sf_cell_info *c, const char *value) { return strcmp(sf_cell_cache(c), value) == 0; }
static bool device_is(const sf_cell_info *c, const char *value) { return strcmp(c->device, value) == 0; }

static bool method_is(const sf_cell_info *c, const char *value)
{
    if (strcmp(value, "dense") == 0) return dense(c);
    for (int p = 0; p < SF_PHASES; p++)
        if (sparse(c, p) && (strcmp(c->label[p], value) == 0 || strcmp(c->method[p], value) == 0)) return true;
    return false;
}

static bool phase_is(const sf_cell_info *c, const char *value)
{
    const bool prefill = sparse(c, SF_PREFILL), decode = sparse(c, SF_DECODE);
    const char *own = prefill && decode ? "both" : prefill ? "prefill" : decode ? "decode" : "dense";
    return strcmp(own, value) == 0;
}

static bool length_is(const sf_cell_info *c, const char *value) { return c->length == atoi(value); }
static bool seed_is(const sf_cell_info *c, const char *value) { return c->seed == strtoull(value, NULL, 10); }

static bool sparsity_is(const sf_cell_info *c, const char *value)
{
    const double wanted = atof(value);
    if (dense(c)) return wanted == 0;
    for (int p = 0; p < SF_PHASES; p++)
        if (sparse(c, p) && fabs(c->sparsity[p] - wanted) < 1e-9) return true;
    return false;
}

/* ---- What a value has to look like ---- */

static bool any(const char *value) { return *value; }
static bool digits(const char *value) { return *value && !value[strspn(value, "0123456789")] && strlen(value) < 20; }
static bool is_key(const char *value) { return strlen(value) >= 6 && sf_key_valid(value); }

static bool number(const char *value)
{
    char *end;
    double x = strtod(value, &end);
    return *value && !*end && x >= 0 && x < 1;
}

static bool is_phase(const char *value)
{
    static const char *const known[] = {"dense", "prefill", "decode", "both"};
    for (int i = 0; i < 4; i++)
        if (strcmp(known[i], value) == 0) return true;
    return false;
}

static const struct {
    const char *name, *expects;
    bool (*valid)(const char *value);
    bool (*holds)(const sf_cell_info *cell, const char *value);
} terms[] = {{"key", "six or more hex digits", is_key, key_is},
             {"model", "a label", any, model_is},
             {"task", "a label or name", any, task_is},
             {"method", "a label or name", any, method_is},
             {"phase", "dense, prefill, decode or both", is_phase, phase_is},
             {"length", "a number of tokens", digits, length_is},
             {"sparsity", "a number from 0 to below 1", number, sparsity_is},
             {"seed", "a number", digits, seed_is},
             {"cache", "exact, or a format's name", any, cache_is},
             {"device", "a name", any, device_is}};
enum { TERMS = sizeof terms / sizeof *terms };

static sf_status unknown(const char *name)
{
    const char *names[TERMS];
    char all[256] = "";
    for (int i = 0; i < TERMS; i++) {
        names[i] = terms[i].name;
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = sf_nearest(name, names, TERMS);
    return sf_fail(SF_BAD_INPUT, "cells are not told by '%s'%s%s%s; by %s, or the beginning of a key", name, near ? " (did you mean '" : "",
                   near ? near : "", near ? "'?)" : "", all);
}

/* The end of a term: a comma outside parentheses, or the text's. */
static char *end_of(char *at)
{
    for (int depth = 0; *at && (*at != ',' || depth > 0); at++) depth += (*at == '(') - (*at == ')');
    return at;
}

sf_status sf_where_parse(const char *text, sf_where *out)
{
    *out = (sf_where){0};
    if (strlen(text) >= sizeof out->text) return sf_fail(SF_BAD_INPUT, "too long a choice of cells: %.40s...", text);
    strcpy(out->text, text);
    for (char *at = out->text, *end; *at; at = end) {
        end = end_of(at);
        if (*end) *end++ = 0;
        char *value = strchr(at, '=');
        int what = 0;
        if (value) {
            *value++ = 0;
            while (what < TERMS && strcmp(terms[what].name, at) != 0) what++;
            if (what == TERMS) return unknown(at);
        } else {
            value = at;
            if (!is_key(value)) return sf_fail(SF_BAD_INPUT, "'%s' is no choice of cells: expected NAME=VALUE, or six or more digits of a cell's key", at);
        }
        if (!terms[what].valid(value)) return sf_fail(SF_BAD_INPUT, "%s=%s: expected %s", terms[what].name, value, terms[what].expects);
        if (out->terms == SF_WHERE_TERMS) return sf_fail(SF_BAD_INPUT, "more than %d terms in a choice of cells", SF_WHERE_TERMS);
        out->term[out->terms].what = what;
        out->term[out->terms++].value = value;
    }
    return out->terms ? SF_OK : sf_fail(SF_BAD_INPUT, "an empty choice of cells");
}

bool sf_where_matches(const sf_where *where, const sf_cell_info *cell)
{
    for (int i = 0; i < where->terms; i++)
        if (!terms[where->term[i].what].holds(cell, where->term[i].value)) return false;
    return true;
}

/* A label without its parameters. */
static const char *bare(const char *label, char *name, size_t room)
{
    snprintf(name, room, "%.*s", (int)strcspn(label, "("), label);
    return name;
}

bool sf_where_matches_failure(const sf_where *where, const sf_failure *f)
{
    char name[1 + SF_PHASES][256];
    sf_cell_info cell = {.model = f->model, .task = bare(f->task, name[SF_PHASES], sizeof *name), .task_label = f->task,
                         .length = f->length, .device = "", .cache = "not recorded", .seed = UINT64_MAX};
    snprintf(cell.key, sizeof cell.key, "%s", f->key);
    for (int p = 0; p < SF_PHASES; p++) {
        cell.method[p] = bare(f->label[p], name[p], sizeof *name);
        cell.label[p] = f->label[p];
        cell.sparsity[p] = f->sparsity[p];
    }
    return sf_where_matches(where, &cell);
}

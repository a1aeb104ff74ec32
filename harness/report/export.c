/* One row a sample, with everything the store holds of it but maps and pictures: for pandas, R or a spreadsheet. */
#include "harness/report/report.h"
#include "harness/report/out.h"
#include "harness/store/schema.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Columns stand in the order cell, record, and are named as in the results file; counts of the meter are
 * "phase_work_count". */
static void each_column(void *user, void (*visit)(void *user, const sf_column *column, bool of_cell))
{
    for (const sf_column *c = sf_cell_columns; c->name; c++) visit(user, c, true);
    for (const sf_column *c = sf_record_columns; c->name; c++)
        if (!sf_column_is_floats(c->type) && c->type != SF_COLUMN_PICTURE) visit(user, c, false);
}

static void meter_name(int i, char name[64])
{
    snprintf(name, 64, "%s_%s_%s", sf_phase_names[i / (SF_WORKS * 5)], sf_work_names[i / 5 % SF_WORKS],
             sf_count_names[i % 5]);
}

/* Hashes and versions, which readers would take for numbers (too large for most, or of another type in the next row), have a mark in
 * front; "": none. */
static const char *mark_of(const sf_column *column, bool of_cell)
{
    static const struct {
        size_t offset;
        bool of_cell;
        const char *mark;
    } marks[] = {{offsetof(sf_record, prompt_hash), false, "XXH3:"},
                 {offsetof(sf_cell_info, version[SF_PREFILL]), true, "v"},
                 {offsetof(sf_cell_info, version[SF_DECODE]), true, "v"}};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (marks[i].offset == column->offset && marks[i].of_cell == of_cell) return marks[i].mark;
    return "";
}

/* The value of such a column as text; "": there is none. */
static void marked(const sf_column *column, const char *mark, const void *field, char out[128])
{
    const char *text = column->type == SF_COLUMN_TEXT ? *(const char *const *)field : NULL;
    const uint64_t hash = column->type == SF_COLUMN_U64 ? *(const uint64_t *)field : 0;
    *out = 0;
    if (text && *text) snprintf(out, 128, "%s%.100s", mark, text);
    if (hash) snprintf(out, 128, "%s%016llx", mark, (unsigned long long)hash);
}

/* ---- CSV: RFC 4180, with a header; NAN is an empty field ---- */

struct row {
    FILE *out;
    const sf_cell_info *cell;
    const sf_record *record;
};

static void csv_head(void *user, const sf_column *column, bool of_cell)
{
    FILE *out = user;
    (void)of_cell;
    if (column->type != SF_COLUMN_METER) {
        fprintf(out, ",%s", column->name);
        return;
    }
    for (int i = 0; i < SF_METER_WORDS; i++) {
        char name[64];
        meter_name(i, name);
        fprintf(out, ",%s", name);
    }
}

static void csv_field(void *user, const sf_column *column, bool of_cell)
{
    const struct row *row = user;
    const char *field = (const char *)(of_cell ? (const void *)row->cell : row->record) + column->offset;
    const char *mark = mark_of(column, of_cell);
    double real;
    char text[128];
    fputc(',', row->out);
    if (*mark) {
        marked(column, mark, field, text);
        sf_csv_text(row->out, text);
        return;
    }
    switch (column->type) {
    case SF_COLUMN_INT:
        fprintf(row->out, "%d", *(const int *)field);
        break;
    case SF_COLUMN_FLAG:
        fprintf(row->out, "%d", *(const bool *)field);
        break;
    case SF_COLUMN_U64:
        fprintf(row->out, "%llu", (unsigned long long)*(const uint64_t *)field);
        break;
    case SF_COLUMN_REAL:
        real = *(const double *)field;
        if (!isnan(real)) fprintf(row->out, "%.17g", real);
        break;
    case SF_COLUMN_TEXT:
        sf_csv_text(row->out, *(const char *const *)field);
        break;
    case SF_COLUMN_METER:
        for (int i = 0; i < SF_METER_WORDS; i++)
            fprintf(row->out, "%s%llu", i ? "," : "", (unsigned long long)((const uint64_t *)field)[i]);
        break;
    case SF_COLUMN_MAP:
    case SF_COLUMN_PROFILE:
    case SF_COLUMN_PICTURE:
        break;
    }
}

/* ---- JSON lines; NAN is null. Text that is not UTF-8 (a prediction cut within a character) has its bad bytes as "?"
 * ---- */

struct object {
    json_t *json;
    const sf_cell_info *cell;
    const sf_record *record;
};

static json_t *json_text(const char *text)
{
    json_t *value = json_string(text ? text : "");
    if (value) return value;
    char *copy = strdup(text);
    for (char *p = copy; copy && *p; p++)
        if (*p & 0x80) *p = '?';
    value = copy ? json_string(copy) : NULL;
    free(copy);
    return value;
}

static void json_field(void *user, const sf_column *column, bool of_cell)
{
    struct object *o = user;
    const char *field = (const char *)(of_cell ? (const void *)o->cell : o->record) + column->offset;
    const char *mark = mark_of(column, of_cell);
    json_t *value = NULL;
    char name[64], text[128];
    if (*mark) {
        marked(column, mark, field, text);
        json_object_set_new(o->json, column->name, *text ? json_text(text) : json_null());
        return;
    }
    switch (column->type) {
    case SF_COLUMN_INT:
        value = json_integer(*(const int *)field);
        break;
    case SF_COLUMN_FLAG:
        value = json_boolean(*(const bool *)field);
        break;
    case SF_COLUMN_U64: /* beyond 2^63 as text: JSON readers disagree on such integers */
        snprintf(name, sizeof name, "%llu", (unsigned long long)*(const uint64_t *)field);
        value =
            *(const uint64_t *)field >> 63 ? json_string(name) : json_integer((json_int_t) * (const uint64_t *)field);
        break;
    case SF_COLUMN_REAL:
        value = isnan(*(const double *)field) ? json_null() : json_real(*(const double *)field);
        break;
    case SF_COLUMN_TEXT:
        value = json_text(*(const char *const *)field);
        break;
    case SF_COLUMN_METER:
        for (int i = 0; i < SF_METER_WORDS; i++) {
            meter_name(i, name);
            json_object_set_new(o->json, name, json_integer((json_int_t)((const uint64_t *)field)[i]));
        }
        return;
    case SF_COLUMN_MAP:
    case SF_COLUMN_PROFILE:
    case SF_COLUMN_PICTURE:
        return;
    }
    json_object_set_new(o->json, column->name, value);
}

sf_status sf_export(const sf_results *results, sf_export_format format, FILE *out)
{
    bool csv = format == SF_EXPORT_CSV;
    if (csv) {
        fputs("cell", out);
        each_column(out, csv_head);
        fputc('\n', out);
    }
    for (int c = 0; c < results->cells; c++)
        for (int i = 0; i < results->records[c]; i++) {
            const sf_cell_info *cell = &results->cell[c];
            const sf_record *record = &results->record[c][i];
            if (csv) {
                fputs(cell->key, out);
                each_column(&(struct row){out, cell, record}, csv_field);
                fputc('\n', out);
                continue;
            }
            struct object object = {json_object(), cell, record};
            int failed = !object.json || json_object_set_new(object.json, "cell", json_string(cell->key)) != 0;
            if (!failed) {
                each_column(&object, json_field);
                failed = json_dumpf(object.json, out, JSON_COMPACT | JSON_REAL_PRECISION(17)) != 0 && !ferror(out);
                fputc('\n', out);
            }
            json_decref(object.json);
            if (failed) return sf_fail(SF_NO_MEMORY, "out of memory while exporting cell %s", cell->key);
        }
    return ferror(out) ? sf_fail(SF_IO, "the export could not be written whole; is the disk full?") : SF_OK;
}

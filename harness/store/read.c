/* Reading results: files and their parts as one set of cells and records. */
#include "harness/store/hdf5.h"
#include "harness/store/part.h"
#include "harness/store/salvage.h"
#include "harness/store/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

struct found {
    sf_record record;
    size_t order;
};

struct cell {
    sf_cell_info info;
    struct found *found;
    size_t count, size;
    sf_maps mean;
    bool mixed; /* records came from more than one place: `mean` is made from their maps */
};

struct reading {
    sf_heap arena;
    unsigned what;
    struct cell *cell;
    size_t cells, size;
    size_t *slot, slots; /* key -> position in `cell`, plus one */
    sf_run_info *run;
    size_t runs;
    sf_failure *failure;
    size_t failures;
    const char **problem;
    size_t problems, order;
};

/* An array that doubles; NULL: out of memory, the old one stays. */
static void *grown(void *array, size_t *size, size_t need, size_t element)
{
    if (need <= *size) return array;
    size_t wanted = *size * 2 > need ? *size * 2 : need + 16;
    void *fresh = realloc(array, wanted * element);
    if (fresh) *size = wanted;
    return fresh;
}

static sf_status no_memory(void) { return sf_fail(SF_NO_MEMORY, "out of memory while reading results"); }

/* Takes the last error as a problem of something that is left out. */
static sf_status note_problem(struct reading *r)
{
    const char **fresh = realloc(r->problem, (r->problems + 1) * sizeof *fresh);
    if (!fresh) return no_memory();
    r->problem = fresh;
    const char *text = sf_heap_text(&r->arena, sf_error(), strlen(sf_error()));
    if (!text) return no_memory();
    r->problem[r->problems++] = text;
    return SF_OK;
}

static size_t *slot_of(struct reading *r, const char *key)
{
    size_t at = XXH3_64bits(key, strlen(key)) & (r->slots - 1);
    while (r->slot[at] && strcmp(r->cell[r->slot[at] - 1].info.key, key) != 0) at = (at + 1) & (r->slots - 1);
    return &r->slot[at];
}

static struct cell *cell_of(struct reading *r, const sf_cell_info *info)
{
    if (2 * (r->cells + 1) > r->slots) {
        size_t slots = r->slots ? 2 * r->slots : 1024, *fresh = calloc(slots, sizeof *fresh);
        if (!fresh) return NULL;
        free(r->slot);
        r->slot = fresh;
        r->slots = slots;
        for (size_t i = 0; i < r->cells; i++) *slot_of(r, r->cell[i].info.key) = i + 1;
    }
    size_t *slot = slot_of(r, info->key);
    if (*slot) return &r->cell[*slot - 1];
    struct cell *fresh = grown(r->cell, &r->size, r->cells + 1, sizeof *fresh);
    if (!fresh) return NULL;
    r->cell = fresh;
    r->cell[r->cells] = (struct cell){.info = *info};
    r->cell[r->cells].info.cache = sf_cell_cache(info); /* older files have none */
    *slot = ++r->cells;
    return &r->cell[r->cells - 1];
}

static sf_status add_records(struct reading *r, struct cell *cell, int n, const sf_record *record)
{
    struct found *fresh = grown(cell->found, &cell->size, cell->count + (size_t)n, sizeof *fresh);
    if (!fresh) return no_memory();
    cell->found = fresh;
    for (int i = 0; i < n; i++) cell->found[cell->count++] = (struct found){record[i], r->order++};
    return SF_OK;
}

static sf_status add_run(struct reading *r, const sf_run_info *run)
{
    for (size_t i = 0; i < r->runs; i++)
        if (strcmp(r->run[i].started, run->started) == 0 && strcmp(r->run[i].host, run->host) == 0) {
            if (!isnan(run->seconds)) r->run[i] = *run; /* the note of its end, not of its start */
            return SF_OK;
        }
    sf_run_info *fresh = realloc(r->run, (r->runs + 1) * sizeof *fresh);
    if (!fresh) return no_memory();
    r->run = fresh;
    r->run[r->runs++] = *run;
    return SF_OK;
}

/* Files are read after their parts: a failure that is there already is the later one. */
static sf_status add_failure(struct reading *r, const sf_failure *failure, bool replace)
{
    for (size_t i = 0; i < r->failures; i++)
        if (strcmp(r->failure[i].key, failure->key) == 0) {
            if (replace) r->failure[i] = *failure;
            return SF_OK;
        }
    sf_failure *fresh = realloc(r->failure, (r->failures + 1) * sizeof *fresh);
    if (!fresh) return no_memory();
    r->failure = fresh;
    r->failure[r->failures++] = *failure;
    return SF_OK;
}

/* ---- Sources ---- */

/* Parts are read before the file: one that a run folds meanwhile is then either here or, if it has gone, in the file.
 */
static sf_status read_parts(struct reading *r, const char *path, int *parts, sf_part **out)
{
    char *folder_path = NULL, (*name)[32] = NULL;
    *parts = 0;
    *out = NULL;
    if (asprintf(&folder_path, "%s.parts", path) < 0) return no_memory();
    int folder = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
    sf_status status = SF_OK;
    if (folder < 0) goto done; /* the usual case: everything is folded */
    status = sf_part_list(folder, folder_path, &count, &name);
    *out = calloc((size_t)count + 1, sizeof **out);
    if (!*out) status = no_memory();
    for (int i = 0; i < count && status == SF_OK; i++) {
        bool gone;
        status = sf_part_read(folder, folder_path, name[i], &r->arena, &(*out)[*parts], &gone);
        if (status == SF_OK && !gone)
            ++*parts;
        else if (status == SF_BAD_INPUT || status == SF_IO)
            status = note_problem(r);
    }
done:
    if (folder >= 0) close(folder);
    free(name);
    free(folder_path);
    return status;
}

static sf_status add_parts(struct reading *r, int parts, const sf_part *part)
{
    for (int p = 0; p < parts; p++) {
        for (int i = 0; i < part[p].records; i++) {
            struct cell *cell = cell_of(r, &part[p].cell[i]);
            if (!cell) return no_memory();
            SF_TRY(add_records(r, cell, 1, &part[p].record[i]));
            cell->mixed = true;
        }
        for (int i = 0; i < part[p].runs; i++) SF_TRY(add_run(r, &part[p].run[i]));
        for (int i = 0; i < part[p].failures; i++) SF_TRY(add_failure(r, &part[p].failure[i], true));
    }
    return SF_OK;
}

static sf_status read_cells(struct reading *r, const sf_hdf5 *file)
{
    int count, runs;
    const char **key;
    sf_run_info *run;
    SF_TRY(sf_hdf5_keys(file, &r->arena, &count, &key));
    for (int i = 0; i < count; i++) {
        sf_cell_info info;
        sf_record *record;
        sf_maps mean;
        int n;
        bool known = r->slots && *slot_of(r, key[i]);
        /* A mean over records of several places needs the maps themselves. */
        unsigned what = known && (r->what & SF_READ_MEANS) ? r->what | SF_READ_MAPS : r->what;
        sf_status status = sf_hdf5_read_cell(file, key[i], what, &r->arena, &info, &n, &record, &mean);
        if (status == SF_BAD_INPUT) {
            SF_TRY(note_problem(r));
            continue;
        }
        SF_TRY(status);
        struct cell *cell = cell_of(r, &info);
        if (!cell) return no_memory();
        SF_TRY(add_records(r, cell, n, record));
        cell->mixed = known;
        cell->mean = mean;
    }
    sf_status status = sf_hdf5_runs(file, &r->arena, &runs, &run);
    if (status == SF_BAD_INPUT) return note_problem(r);
    SF_TRY(status);
    for (int i = 0; i < runs; i++) SF_TRY(add_run(r, &run[i]));
    sf_failure *failure;
    int failures;
    status = sf_hdf5_failures(file, &r->arena, &failures, &failure);
    if (status == SF_BAD_INPUT) return note_problem(r);
    SF_TRY(status);
    for (int i = 0; i < failures; i++) SF_TRY(add_failure(r, &failure[i], false));
    return SF_OK;
}

static sf_status read_file(struct reading *r, const char *path)
{
    sf_hdf5 file;
    SF_TRY(sf_hdf5_open(path, false, &file));
    sf_status status = read_cells(r, &file);
    sf_hdf5_close(&file);
    return status;
}

static sf_status took_part(void *reading, const sf_part *part) { return add_parts(reading, 1, part); }
static sf_status lost_cell(void *reading) { return note_problem(reading); }

static sf_status read_damaged(struct reading *r, const char *path)
{
    sf_fail(SF_BAD_INPUT,
            "%s is damaged: its content does not match its checksum. What is left of it was read; take a copy "
            "that is whole",
            path);
    SF_TRY(note_problem(r));
    unsigned what = r->what & SF_READ_MEANS ? r->what | SF_READ_MAPS : r->what; /* salvaged parts hold no means */
    return sf_salvage(path, what, &r->arena, r, took_part, lost_cell);
}

static sf_status read_source(struct reading *r, const char *path)
{
    int parts;
    sf_part *part;
    struct stat st;
    sf_seal seal = SF_SEAL_ABSENT;
    sf_status status = read_parts(r, path, &parts, &part);
    if (status == SF_OK) status = add_parts(r, parts, part);
    free(part);
    SF_TRY(status);
    bool there = stat(path, &st) == 0;
    if (!there && errno == ENOENT && parts) return SF_OK; /* a first run that has not folded yet */
    if (there && S_ISREG(st.st_mode)) SF_TRY(sf_seal_check(path, &seal));
    return seal == SF_SEAL_BROKEN ? read_damaged(r, path) : read_file(r, path);
}

/* ---- In order ---- */

static int by_sample(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->record.sample != y->record.sample) return x->record.sample < y->record.sample ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int real_order(double a, double b) /* NAN (explicit parameters) last */
{
    if (isnan(a) || isnan(b)) return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

static int by_place(const void *a, const void *b)
{
    const sf_cell_info *x = &((const struct cell *)a)->info, *y = &((const struct cell *)b)->info;
    int o = strcmp(x->model, y->model);
    if (!o) o = strcmp(x->task_label, y->task_label);
    if (!o) o = (x->length > y->length) - (x->length < y->length);
    for (int p = 0; p < SF_PHASES && !o; p++) {
        bool dense_x = strcmp(x->method[p], "dense") == 0, dense_y = strcmp(y->method[p], "dense") == 0;
        o = dense_y - dense_x;
        if (!o) o = strcmp(x->label[p], y->label[p]);
        if (!o) o = real_order(x->sparsity[p], y->sparsity[p]);
    }
    if (!o) o = strcmp(sf_cell_cache(x), sf_cell_cache(y)); /* "exact" first */
    return o ? o : strcmp(x->key, y->key);
}

static sf_status mean_of_records(struct reading *r, struct cell *cell)
{
    cell->mean = (sf_maps){0};
    for (const sf_column *column = sf_record_columns; column->name; column++) {
        const size_t floats = sf_column_floats(column, (size_t)cell->info.layers * (size_t)cell->info.heads);
        if (!floats) continue;
        size_t place = (column->offset - offsetof(sf_record, density)) / sizeof(float *);
        float *mean = NULL, *seen = NULL;
        for (size_t i = 0; i < cell->count; i++) {
            const float *map = *(const float *const *)((const char *)&cell->found[i].record + column->offset);
            if (!map) continue;
            if (!mean && (!(mean = sf_heap_alloc(&r->arena, floats * sizeof *mean)) || !(seen = sf_heap_alloc(&r->arena, floats * sizeof *seen))))
                return no_memory();
            for (size_t j = 0; j < floats; j++)
                if (!isnan(map[j])) mean[j] += (map[j] - mean[j]) / ++seen[j];
        }
        for (size_t j = 0; mean && j < floats; j++)
            if (seen[j] == 0) mean[j] = NAN;
        ((const float **)&cell->mean)[place] = mean;
    }
    return SF_OK;
}

/* A failure whose sample was stored since is none. */
static bool is_over(struct reading *r, const sf_failure *failure)
{
    size_t at = r->slots ? *slot_of(r, failure->key) : 0;
    for (size_t i = 0; at && i < r->cell[at - 1].count; i++)
        if (r->cell[at - 1].found[i].record.sample == failure->sample) return true;
    return false;
}

static sf_status settle(struct reading *r, sf_results *out)
{
    for (size_t i = 0; i < r->failures;)
        if (is_over(r, &r->failure[i]))
            r->failure[i] = r->failure[--r->failures];
        else
            i++;
    for (size_t c = 0; c < r->cells; c++) {
        struct cell *cell = &r->cell[c];
        if (!cell->count) continue;
        qsort(cell->found, cell->count, sizeof *cell->found, by_sample);
        size_t kept = 1;
        for (size_t i = 1; i < cell->count; i++)
            if (cell->found[i].record.sample != cell->found[kept - 1].record.sample)
                cell->found[kept++] = cell->found[i];
        cell->count = kept;
        if ((r->what & SF_READ_MEANS) && cell->mixed) SF_TRY(mean_of_records(r, cell));
    }
    if (r->cells) qsort(r->cell, r->cells, sizeof *r->cell, by_place);
    sf_heap *arena = &r->arena;
    out->cells = (int)r->cells;
    out->cell = sf_heap_alloc(arena, r->cells * sizeof *out->cell);
    out->records = sf_heap_alloc(arena, r->cells * sizeof *out->records);
    out->record = sf_heap_alloc(arena, r->cells * sizeof *out->record);
    out->mean = sf_heap_alloc(arena, r->cells * sizeof *out->mean);
    out->run = sf_heap_alloc(arena, r->runs * sizeof *out->run);
    out->failure = sf_heap_alloc(arena, r->failures * sizeof *out->failure);
    out->problem = sf_heap_alloc(arena, r->problems * sizeof *out->problem);
    if (!out->cell || !out->records || !out->record || !out->mean || !out->run || !out->failure || !out->problem) return no_memory();
    for (size_t c = 0; c < r->cells; c++) {
        struct cell *cell = &r->cell[c];
        out->cell[c] = cell->info;
        out->records[c] = (int)cell->count;
        out->mean[c] = cell->mean;
        sf_record *record = out->record[c] = sf_heap_alloc(arena, cell->count * sizeof *record);
        if (!record) return no_memory();
        for (size_t i = 0; i < cell->count; i++) record[i] = cell->found[i].record;
    }
    out->runs = (int)r->runs;
    if (r->runs) memcpy(out->run, r->run, r->runs * sizeof *r->run);
    out->failures = (int)r->failures;
    if (r->failures) memcpy(out->failure, r->failure, r->failures * sizeof *r->failure);
    out->problems = (int)r->problems;
    if (r->problems) memcpy(out->problem, r->problem, r->problems * sizeof *r->problem);
    return SF_OK;
}

sf_status sf_results_read(int files, const char *const *path, unsigned what, sf_results *out)
{
    *out = (sf_results){0};
    /* The same cell may lie in several files; its mean maps then need the maps of each record. */
    struct reading r = {.what = files > 1 && (what & SF_READ_MEANS) ? what | SF_READ_MAPS : what};
    sf_status status = SF_OK;
    for (int i = 0; i < files && status == SF_OK; i++) status = read_source(&r, path[i]);
    if (status == SF_OK) status = settle(&r, out);
    for (size_t c = 0; c < r.cells; c++) free(r.cell[c].found);
    free(r.cell);
    free(r.slot);
    free(r.run);
    free(r.failure);
    free(r.problem);
    sf_heap *keep = status == SF_OK ? malloc(sizeof *keep) : NULL;
    if (status == SF_OK && !keep) status = no_memory();
    if (status != SF_OK) {
        sf_heap_free(&r.arena);
        *out = (sf_results){0};
        return status;
    }
    *keep = r.arena;
    out->arena = keep;
    return SF_OK;
}

void sf_results_free(sf_results *r)
{
    if (r->arena) {
        sf_heap_free(r->arena);
        free(r->arena);
    }
    *r = (sf_results){0};
}

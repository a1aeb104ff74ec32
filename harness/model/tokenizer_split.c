#include "harness/model/tokenizer_split.h"

#include <stdlib.h>
#include <string.h>

#include "harness/model/vocab.h"

const char SF_GPT2_PATTERN[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static sf_status emit(sf_pieces *out, sf_piece whole, size_t start, size_t end)
{
    if (start == end) return SF_OK;
    SF_TRY(sf_reserve(&out->piece, &out->capacity, out->n + 1, sizeof *out->piece));
    out->piece[out->n++] = (sf_piece){whole.text + start, end - start, whole.first && !start};
    return SF_OK;
}

/* Matches and the gaps between them alternate; `behavior` says which boundaries between them stay. */
static sf_status cut(const sf_splitter *step, sf_piece in, sf_split_scratch *s, sf_pieces *out)
{
    size_t n;
    SF_TRY(sf_regex_find_all(step->pattern, in.text, in.bytes, &s->match, &s->match_capacity, &n));
    size_t start = 0, at = 0; /* of the piece being built, and how far we are */
    bool last_matched = false;
    for (size_t i = 0; i <= 2 * n; i++) { /* gap, match, gap, …, gap */
        bool is_gap = i % 2 == 0;
        size_t end = !is_gap ? s->match[i / 2].end : i / 2 < n ? s->match[i / 2].start : in.bytes;
        if (is_gap && end == at) continue;
        bool matched = is_gap == step->invert;
        bool joins = at > 0;
        switch (step->behavior) {
        case SF_SPLIT_ISOLATED:
        case SF_SPLIT_REMOVED:
            joins = false;
            break;
        case SF_SPLIT_CONTIGUOUS:
            joins = joins && matched == last_matched;
            break;
        case SF_SPLIT_MERGED_WITH_PREVIOUS:
            joins = joins && matched && !last_matched;
            break;
        case SF_SPLIT_MERGED_WITH_NEXT:
            joins = joins && !matched && last_matched;
            break;
        }
        if (!joins) {
            if (step->behavior != SF_SPLIT_REMOVED || !last_matched) SF_TRY(emit(out, in, start, at));
            start = at;
        }
        at = end;
        last_matched = matched;
    }
    return step->behavior == SF_SPLIT_REMOVED && last_matched ? SF_OK : emit(out, in, start, at);
}

static sf_status block(sf_split_scratch *s, size_t bytes, char **out)
{
    SF_TRY(sf_reserve(&s->block, &s->block_capacity, s->blocks + 1, sizeof *s->block));
    *out = malloc(bytes);
    if (!*out) return sf_fail(SF_NO_MEMORY, "no memory for %zu bytes of text", bytes);
    s->block[s->blocks++] = *out;
    return SF_OK;
}

static sf_status replace(const sf_splitter *step, sf_piece in, sf_split_scratch *s, sf_pieces *out)
{
    size_t n, at = 0, to = 0, with = strlen(step->with);
    SF_TRY(sf_regex_find_all(step->pattern, in.text, in.bytes, &s->match, &s->match_capacity, &n));
    if (!n) return emit(out, in, 0, in.bytes);
    char *text;
    SF_TRY(block(s, in.bytes + n * with, &text));
    for (size_t i = 0; i <= n; i++) {
        size_t end = i < n ? s->match[i].start : in.bytes;
        memcpy(text + to, in.text + at, end - at);
        to += end - at;
        if (i == n) break;
        memcpy(text + to, step->with, with);
        to += with;
        at = s->match[i].end;
    }
    return emit(out, (sf_piece){text, to, in.first}, 0, to);
}

static sf_status prepend(const sf_splitter *step, sf_piece in, sf_split_scratch *s, sf_pieces *out)
{
    size_t with = strlen(step->with);
    bool has = in.bytes >= with && !memcmp(in.text, step->with, with);
    if (has || step->prepend == SF_PREPEND_NEVER || (step->prepend == SF_PREPEND_FIRST && !in.first))
        return emit(out, in, 0, in.bytes);
    char *text;
    SF_TRY(block(s, in.bytes + with, &text));
    memcpy(text, step->with, with);
    memcpy(text + with, in.text, in.bytes);
    return emit(out, (sf_piece){text, in.bytes + with, in.first}, 0, in.bytes + with);
}

static void free_blocks(sf_split_scratch *s)
{
    while (s->blocks) free(s->block[--s->blocks]);
}

sf_status sf_split(const sf_splitter *step, int steps, sf_piece text, sf_split_scratch *s)
{
    free_blocks(s);
    s->pieces.n = 0;
    SF_TRY(emit(&s->pieces, text, 0, text.bytes));
    for (int k = 0; k < steps; k++) {
        s->other.n = 0;
        for (size_t i = 0; i < s->pieces.n; i++) {
            switch (step[k].kind) {
            case SF_CUT:
                SF_TRY(cut(&step[k], s->pieces.piece[i], s, &s->other));
                break;
            case SF_REPLACE:
                SF_TRY(replace(&step[k], s->pieces.piece[i], s, &s->other));
                break;
            case SF_PREPEND:
                SF_TRY(prepend(&step[k], s->pieces.piece[i], s, &s->other));
                break;
            }
        }
        sf_pieces swap = s->pieces;
        s->pieces = s->other;
        s->other = swap;
    }
    return SF_OK;
}

void sf_split_scratch_free(sf_split_scratch *s)
{
    free_blocks(s);
    free(s->pieces.piece);
    free(s->other.piece);
    free(s->match);
    free(s->block);
    *s = (sf_split_scratch){0};
}

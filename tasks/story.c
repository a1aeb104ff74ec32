#include "tasks/story.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/answer.h"
#include "base/embed.h"
#include "tasks/unique.h"

SF_EMBED(phrases, "tasks/stories/phrases.txt");

/* ---- phrases ----------------------------------------------------------------------------------------------------- */

enum { MOST_PHRASES = 256 };
static sf_span phrase[SF_PHRASE_KINDS][MOST_PHRASES];
static int count[SF_PHRASE_KINDS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The sections of the file stand in the order of the kinds. */
static void split(void)
{
    int kind = -1;
    sf_span rest = {phrases, (size_t)(phrases_end - phrases)};
    for (sf_span line; sf_next_line(&rest, &line);) {
        if (line.bytes == 0 || *line.at == '#') continue;
        if (*line.at == '=') {
            kind++;
        } else {
            assert(kind >= 0 && kind < SF_PHRASE_KINDS && count[kind] < MOST_PHRASES);
            phrase[kind][count[kind]++] = line;
        }
    }
    assert(kind == SF_PHRASE_KINDS - 1);
}

int sf_phrase_count(sf_phrases kind)
{
    pthread_once(&once, split);
    return count[kind];
}

sf_span sf_phrase(sf_phrases kind, int i)
{
    assert(i >= 0 && i < sf_phrase_count(kind));
    return phrase[kind][i];
}

static void add(sf_span text, sf_text *out) { sf_text_bytes(out, text.at, text.bytes); }

void sf_story_item(int item, sf_text *out)
{
    int nouns = sf_phrase_count(SF_NOUNS), materials = sf_phrase_count(SF_MATERIALS);
    add(sf_phrase(SF_ADJECTIVES, item / nouns / materials), out);
    sf_text_char(out, ' ');
    add(sf_phrase(SF_MATERIALS, item / nouns % materials), out);
    sf_text_char(out, ' ');
    add(sf_phrase(SF_NOUNS, item % nouns), out);
}

/* How many phrases of a kind a story draws from: all, or the first so many, which is what the study has of it. */
static int pool(const sf_story *s, sf_phrases kind)
{
    static const int study[SF_PHRASE_KINDS] = {
        [SF_ARRIVAL] = 10, [SF_REASON] = 10,     [SF_EVENT] = 10,      [SF_EVENTS] = 20,
        [SF_EXTRA] = 10,   [SF_MEETING] = 10,    [SF_TALK] = 30,       [SF_PURCHASE] = 9,
        [SF_SALE] = 5,     [SF_FAREWELL] = 10,   [SF_CONCLUSION] = 10, [SF_PLACES] = 64,
        [SF_PERSONS] = 49, [SF_ADJECTIVES] = 18, [SF_MATERIALS] = 15,  [SF_NOUNS] = 21};
    return s->shape.pools ? study[kind] : sf_phrase_count(kind);
}

int sf_story_most(const sf_story_shape *shape) { return shape->pools ? 2000 : SF_STORY_MOST; }

/* ---- chapters ---------------------------------------------------------------------------------------------------- */

/* What one chapter fills the phrases with. */
typedef struct filling {
    int place, person, event, item;
} filling;

static void fill_slot(const char *slot, const filling *f, sf_text *out)
{
    if (strncmp(slot, "{place}", 7) == 0) {
        add(sf_phrase(SF_PLACES, f->place), out);
    } else if (strncmp(slot, "{person}", 8) == 0) {
        add(sf_phrase(SF_PERSONS, f->person), out);
    } else if (strncmp(slot, "{first}", 7) == 0) {
        sf_span name = sf_phrase(SF_PERSONS, f->person);
        sf_text_bytes(out, name.at, (size_t)((const char *)memchr(name.at, ' ', name.bytes) - name.at));
    } else if (strncmp(slot, "{event}", 7) == 0) {
        add(sf_phrase(SF_EVENTS, f->event), out);
    } else if (strncmp(slot, "{an item}", 9) == 0) {
        size_t article = out->size;
        sf_text_add(out, "an ");
        sf_story_item(f->item, out);
        if (!out->failed && !strchr("aeiou", out->data[article + 3])) { /* "an round" → "a round" */
            memmove(out->data + article + 1, out->data + article + 2, out->size - article - 1);
            out->size--;
        }
    } else {
        assert(strncmp(slot, "{item}", 6) == 0);
        sf_story_item(f->item, out);
    }
}

static void add_filled(sf_span sentence, const filling *f, sf_text *out)
{
    for (const char *at = sentence.at, *end = at + sentence.bytes; at < end;) {
        const char *slot = memchr(at, '{', (size_t)(end - at));
        sf_text_bytes(out, at, (size_t)((slot ? slot : end) - at));
        if (!slot) return;
        fill_slot(slot, f, out);
        at = (const char *)memchr(slot, '}', (size_t)(end - slot)) + 1;
    }
}

static int draw_phrase(const sf_story *s, sf_random *r, sf_phrases kind)
{
    return (int)sf_random_below(r, (uint32_t)pool(s, kind));
}

static void add_sentence(const sf_story *s, sf_random *r, sf_phrases kind, const filling *f, sf_text *out)
{
    add_filled(sf_phrase(kind, draw_phrase(s, r, kind)), f, out);
}

static int draw_item(const sf_story *s, sf_random *r)
{
    int materials = pool(s, SF_MATERIALS), nouns = pool(s, SF_NOUNS);
    int drawn = (int)sf_random_below(r, (uint32_t)(pool(s, SF_ADJECTIVES) * materials * nouns));
    int adjective = drawn / nouns / materials, material = drawn / nouns % materials;
    return (adjective * sf_phrase_count(SF_MATERIALS) + material) * sf_phrase_count(SF_NOUNS) + drawn % nouns;
}

/* Draws place, person and item of chapter c, all new. */
static void draw(const sf_story *s, sf_random *r, sf_unique *seen, sf_chapter *c)
{
    int pair[2], item;
    do {
        pair[0] = draw_phrase(s, r, SF_PLACES);
        pair[1] = draw_phrase(s, r, SF_PERSONS);
    } while (!sf_unique_add(seen, (const char *)pair, sizeof pair));
    do item = draw_item(s, r);
    while (!sf_unique_add(seen, (const char *)&item, sizeof item));
    *c = (sf_chapter){.place = pair[0], .person = pair[1], .item = item};
}

/* Three paragraphs: the place, the person, the trade and the leave. `sold`: an item, or -1. All phrases are drawn in
 * any case, so that trade in one chapter moves nothing else. */
static void write_chapter(const sf_story *s, const sf_chapter *c, int number, int sold, sf_random *r, sf_text *out)
{
    filling f = {c->place, c->person, draw_phrase(s, r, SF_EVENTS), c->item};
    sf_text_add(out, "Chapter ");
    sf_text_int(out, number);
    static const sf_phrases opening[] = {SF_ARRIVAL, SF_REASON, SF_EVENT, SF_EXTRA};
    for (int i = 0; i < 4; i++) {
        sf_text_char(out, i ? ' ' : '\n');
        add_sentence(s, r, opening[i], &f, out);
    }
    sf_text_char(out, '\n');
    add_sentence(s, r, SF_MEETING, &f, out);
    int talk[8];
    sf_random_pick(r, pool(s, SF_TALK), talk, s->shape.talk);
    for (int i = 0; i < s->shape.talk; i++) {
        sf_text_char(out, ' ');
        add_filled(sf_phrase(SF_TALK, talk[i]), &f, out);
    }
    sf_text_char(out, '\n');
    sf_random trade = sf_random_fork(r, 1);
    if (c->buys) {
        add_sentence(s, &trade, SF_PURCHASE, &f, out);
        sf_text_char(out, ' ');
    }
    trade = sf_random_fork(r, 2);
    if (sold >= 0) {
        add_sentence(s, &trade, SF_SALE, &(filling){.item = sold}, out);
        sf_text_char(out, ' ');
    }
    add_sentence(s, r, SF_FAREWELL, &f, out);
    sf_text_char(out, ' ');
    add_sentence(s, r, SF_CONCLUSION, &f, out);
}

sf_status sf_story_write(sf_story *s, int chapters, const int *idle, int idles, sf_text *out)
{
    assert(chapters <= SF_STORY_MOST);
    sf_unique seen = {0};
    int *owned = malloc(SF_STORY_MOST * sizeof *owned), owns = 0; /* items bought before and not sold yet */
    if (!owned) return sf_fail(SF_NO_MEMORY, "no memory for a story of %d chapters", chapters);
    for (int i = 0; i < chapters; i++) {
        sf_chapter *c = &s->chapter[i];
        sf_random r = sf_random_fork(&s->base, (uint64_t)i + 1), sale = sf_random_fork(&r, 1);
        draw(s, &r, &seen, c);
        c->buys = !(idles && *idle == i + 1);
        if (!c->buys) idle++, idles--;

        int sold = -1;
        if (owns && sf_random_below(&sale, 1 << 20) < s->shape.sales * (1 << 20)) {
            int which = (int)sf_random_below(&sale, (uint32_t)owns);
            sold = owned[which];
            owned[which] = owned[--owns];
        }
        if (c->buys) owned[owns++] = c->item;
        if (i) sf_text_add(out, "\n\n");
        write_chapter(s, c, i + 1, sold, &r, out);
    }
    bool failed = seen.failed;
    sf_unique_free(&seen);
    free(owned);
    return failed ? sf_fail(SF_NO_MEMORY, "no memory for a story of %d chapters", chapters) : SF_OK;
}

void sf_story_pad(void *unused, int i, sf_text *out)
{
    (void)unused;
    if (i == 0)
        sf_text_add(out, "On the last pages of my notebook I find a few more remarks.");
    else
        add(sf_phrase(SF_EXTRA, (i - 1) % sf_phrase_count(SF_EXTRA)), out);
}

sf_status sf_story_open(const sf_story_shape *shape, const sf_random *base, sf_story *out)
{
    *out = (sf_story){*shape, *base, calloc(SF_STORY_MOST, sizeof *out->chapter)};
    return out->chapter ? SF_OK : sf_fail(SF_NO_MEMORY, "no memory for a story");
}

void sf_story_close(sf_story *s)
{
    free(s->chapter);
    *s = (sf_story){0};
}

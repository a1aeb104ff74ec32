/* The stories that three tasks of the study ask about: numbered chapters, told by a traveller.
 *
 * In each chapter the traveller comes to a place, says why and what goes on there, meets a person, talks, buys an item,
 * sometimes sells an older one, takes leave and moves on. Every sentence is drawn from the phrases of its kind
 * (tasks/stories/phrases.txt). No two chapters have the same place and person, or the same item. */
#ifndef SF_STORY_H
#define SF_STORY_H

#include "tasks/prompt.h"
#include "tasks/random.h"

#define SF_STORY_SOURCE "Nawrot et al. 2025, arXiv 2504.17768"

enum { SF_STORY_MOST = 4096 }; /* chapters of one story */

/* What all tasks on stories let the user set. */
typedef struct sf_story_shape {
    int talk;     /* sentences of conversation in a chapter */
    double sales; /* chance that an older item is sold */
    int pools;    /* what names and sentences are drawn from; 0: all there are, 1: as many of a kind as the study has */
} sf_story_shape;

/* Rows of a parameter table, for a struct with a member `shape`. */
#define SF_STORY_PARAMS(params)                                                                                        \
    {.name = "talk",                                                                                                   \
     .offset = offsetof(params, shape.talk),                                                                           \
     .type = SF_INT,                                                                                                   \
     .low = 0,                                                                                                         \
     .high = 8,                                                                                                        \
     .initial = 3,                                                                                                     \
     .doc = "sentences of conversation in a chapter"},                                                                 \
    {.name = "sales",                                                                                                  \
     .offset = offsetof(params, shape.sales),                                                                          \
     .type = SF_REAL,                                                                                                  \
     .low = 0,                                                                                                         \
     .high = 1,                                                                                                        \
     .initial = 0.5,                                                                                                   \
     .doc = "chance that a chapter sells an item bought before"},                                                      \
    {                                                                                                                  \
        .name = "pools", .offset = offsetof(params, shape.pools), .type = SF_CHOICE, .choices = "own|study",           \
        .late = true, .doc = "names and sentences to draw from: all there are, or as few as the study's"               \
    }

typedef struct sf_chapter {
    int place, person, item;
    bool buys; /* the item is bought here; false: it does not occur */
} sf_chapter;

typedef struct sf_story {
    sf_story_shape shape;
    sf_random base;
    sf_chapter *chapter; /* [SF_STORY_MOST] those of the last sf_story_write() are set */
} sf_story;

sf_status sf_story_open(const sf_story_shape *shape, const sf_random *base, sf_story *out);
void sf_story_close(sf_story *s);

/* Chapters that a story of this shape can have. */
int sf_story_most(const sf_story_shape *shape);

/* Appends the first `chapters` chapters. In those whose numbers `idle` holds, from 1 and ascending, nothing is bought.
 * Chapters differ in nothing else, whatever their number, so that a longer story begins like a shorter one. */
sf_status sf_story_write(sf_story *s, int chapters, const int *idle, int idles, sf_text *out);

/* Sentence i of remarks that say nothing of the journey, for the end of a story (sf_content.pad). */
void sf_story_pad(void *unused, int i, sf_text *out);

/* Appends the name of an item: adjective, material, noun. */
void sf_story_item(int item, sf_text *out);

/* The phrases of one kind. */
typedef enum sf_phrases {
    SF_ARRIVAL,
    SF_REASON,
    SF_EVENT,
    SF_EVENTS, /* what {event} stands for */
    SF_EXTRA,
    SF_MEETING,
    SF_TALK,
    SF_PURCHASE,
    SF_SALE,
    SF_FAREWELL,
    SF_CONCLUSION,
    SF_PLACES,
    SF_PERSONS,
    SF_ADJECTIVES,
    SF_MATERIALS,
    SF_NOUNS,
    SF_PHRASE_KINDS
} sf_phrases;

int sf_phrase_count(sf_phrases kind);
sf_span sf_phrase(sf_phrases kind, int i);

#endif

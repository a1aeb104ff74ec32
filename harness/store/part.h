/* A part: what one durable step added, in one small file of its own format. It lives until it is folded.
 *
 *   offset  0  "SFpart" 0 1        magic; the last byte is the format's version
 *           8  u32 schema          SF_STORE_SCHEMA
 *          12  u32 0x01020304      in the writer's byte order
 *          16  u64 bytes           of the payload
 *          24  u64 XXH3            of the payload
 *          32  payload             entries: 'C' cell | 'R' record of the last 'C' | 'N' run | 'F' failed cell, and behind
 *                                  the first three their later columns: 'v', 'l', 'n', with their number (u32) in front; 'V' and 'L' in parts of
 *                                  programs that had but the first two or three of them
 *
 * An entry holds its struct's columns in the order of the schema's table: numbers as they lie in memory, texts as u32
 * length and bytes, maps as one byte "present" and floats [layers, heads]. */
#ifndef SF_STORE_PART_H
#define SF_STORE_PART_H

#include "harness/store/schema.h"

typedef struct sf_part {
    int records, runs, failures;
    sf_cell_info *cell; /* [records] */
    sf_record *record;  /* [records] */
    sf_run_info *run;   /* [runs] */
    sf_failure *failure; /* [failures] */
    size_t bytes;       /* of the file */
} sf_part;

/* Writes folder/name durably (aside, fsync, rename, fsync of the folder); nothing is left when it fails. */
sf_status sf_part_write(int folder, const char *folder_path, const char *name, int records, const sf_cell_info *cell,
                        const sf_record *record, const sf_run_info *run /* or NULL */,
                        const sf_failure *failure /* or NULL */);

/* Reads and checks a part into the arena. `*gone` is set, with SF_OK and nothing read, if there is no such file:
 * another process has folded it. */
sf_status sf_part_read(int folder, const char *folder_path, const char *name, sf_heap *arena, sf_part *out, bool *gone);

/* Names of all parts in the folder, sorted, which is the order they were written in. *out: one block, freed by the
 * caller. */
sf_status sf_part_list(int folder, const char *folder_path, int *count, char (**out)[32]);

/* Removes what a kill left half-written. Only for who holds the lock. */
void sf_part_sweep(int folder);

/* Synced to disk: what open() or mkdir() did to names in this folder. */
sf_status sf_sync_folder(int folder, const char *folder_path);

#endif

/* One rank's part of a model that is split over several, as Megatron does (Shoeybi et al. 2019, arXiv 1909.08053): rows of q, k,
 * v, gate and up, columns of o and down, of each expert too; norms, routers, embedding and head are whole on every rank. Or by
 * layers, each stage with some of them whole; or both, each stage's layers split over its ranks. */
#ifndef SF_PART_H
#define SF_PART_H

#include "harness/model/model.h"

typedef struct sf_part {
    sf_model model; /* config, weights and stops alone; rows point into the whole model's files, which must stay open */
    int slots;
    struct sf_part_slot *slot; /* [slots] what is cut by columns */
} sf_part;

/* How many ranks hold each kv head: 1 where there are enough of them. */
static inline int sf_part_repeat(const sf_model_config *whole, int ranks) { return whole->kv_heads < ranks ? ranks / whole->kv_heads : 1; }

/* Layers [first, end), of all layers of the model: those of one stage of its pipeline. The first stage has the embedding, the last
 * one final norm and head. */
typedef struct sf_stage { int first, end; } sf_stage;

/* As even as can be, the later stages with more. Error: there are fewer layers than stages. */
sf_status sf_stage_of(const sf_model_config *whole, int stage, int stages, sf_stage *out);

/* The shape of a rank's part. Error: heads, kv heads or MLP cannot be cut so, by name. */
sf_status sf_config_part(const sf_model_config *whole, int rank, int ranks, sf_model_config *out);

/* Reads nothing but the numbers of its shape; tensors that are cut by columns have no data yet. Error: as above, or columns that
 * cut through a block of a quantised weight. */
sf_status sf_part_open(const sf_model *whole, int rank, int ranks, sf_part *out);
/* Whether a model can be split over so many ranks: what sf_part_open() says, for all of them, without a part. Of a model that is a
 * shape without weights, what its config says. */
sf_status sf_part_check(const sf_model *whole, int ranks);
/* Copies the part's columns of a layer out of the whole model's rows; and gives the copies back, once a device has its own. */
sf_status sf_part_columns(sf_part *part, int layer);
void sf_part_drop(sf_part *part, int layer);
void sf_part_close(sf_part *part); /* accepts a zeroed and a half-opened one */

#endif

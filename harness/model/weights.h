/* Which weights a config calls for: one list, from which files are read, models are validated, hashed and made up. */
#ifndef SF_WEIGHTS_H
#define SF_WEIGHTS_H

#include "harness/model/model.h"

typedef enum sf_weight_role {
    SF_ROLE_TABLE,    /* embedding or head, [vocab, d] */
    SF_ROLE_INNER,    /* matrix that reads the residual stream */
    SF_ROLE_RESIDUAL, /* matrix that writes it: o, down */
    SF_ROLE_NORM, SF_ROLE_BIAS
} sf_weight_role;

typedef enum sf_cut { SF_UNCUT, SF_BY_HEADS, SF_BY_KV_HEADS, SF_BY_MLP, SF_ONCE /* of what ranks sum: one has it */, SF_CUT_UNKNOWN } sf_cut;

typedef struct sf_weight_slot {
    char gguf[64], hf[112]; /* names in a GGUF file; in a Hugging Face checkpoint, below "model." but for the head */
    sf_tensor *at;         /* in the weights given */
    int layer;             /* -1: of none */
    sf_weight_role role;
    int rank;              /* 1: a norm or bias, of a plain dtype; 2: a matrix [rows, columns], of any float dtype */
    int64_t dim[2];
    sf_cut rows_by, columns_by; /* how they are cut where a model is split over ranks */
    struct sf_weight_share { int64_t first_row, whole_rows; } of_hf, of_gguf; /* which rows of a tensor that several slots share,
                                                                one below the other; whole_rows 0: all of it */
} sf_weight_slot;

/* Room for the weights of all layers and experts, and for the list of slots; both are the caller's, who frees the slots, and
 * the weights by sf_weights_free(), after failure too. */
sf_status sf_weights_room(const sf_model_config *c, sf_weights *weights, sf_weight_slot **slot, const char *where);
void sf_weights_free(sf_weights *weights); /* accepts zeroed ones; what they point to is not theirs */

/* At most how many slots a config has. */
int64_t sf_weight_slots_most(const sf_model_config *c);

/* Fills `slot` in a fixed order and returns their number. weights has room for all layers and experts. A tied head is no slot
 * of its own. */
int sf_weight_slots(const sf_model_config *c, sf_weights *weights, sf_weight_slot *slot);

/* The slot's rows of a tensor that a file has: all of them, or its part of a shared one, which may have a dimension more. Error: another shape. */
sf_status sf_weight_part(const sf_weight_slot *slot, struct sf_weight_share share, const sf_tensor *found, const char *where,
                         const char *name, sf_tensor *out);

/* Puts the tensor into the slot after checking that it is what the slot calls for. `where`, `name`: for the message. */
sf_status sf_weight_set(const sf_weight_slot *slot, const sf_tensor *found, const char *where, const char *name);

/* Fails if a weight is NaN or infinite, naming tensor and place. Reads all of them: for `frontier verify`, and for finding
 * out why a result is no number. */
sf_status sf_weights_finite(const sf_model *m);

/* "[49152, 576]", in a buffer of this thread that the second next call overwrites. */
const char *sf_shape_text(int rank, const int64_t *dim);

#endif

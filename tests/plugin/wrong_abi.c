/* Built for another version of the contract: refused at load. */
#include "methods/method.h"

static const sf_method method = {.abi = SF_METHOD_ABI + 1, .name = "wrong_abi", .summary = "of tomorrow"};

const sf_method *sf_plugin(void);
const sf_method *sf_plugin(void) { return &method; }

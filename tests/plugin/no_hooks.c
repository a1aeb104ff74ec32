/* A method that offers nothing: refused at load. */
#include "methods/method.h"

static const sf_method method = {.abi = SF_METHOD_ABI, .name = "no_hooks", .summary = "nothing"};

const sf_method *sf_plugin(void);
const sf_method *sf_plugin(void) { return &method; }

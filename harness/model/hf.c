/* A Hugging Face folder. */
#include "harness/model/model.h"

sf_status sf_hf_open(const char *folder, sf_model *out)
{
    (void)out;
    return sf_fail(SF_UNSUPPORTED, "%s: Hugging Face folders are not read yet", folder);
}

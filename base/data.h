/* Where Frontier's own files are: plot templates, model shapes. */
#ifndef SF_DATA_H
#define SF_DATA_H

#include "base/status.h"

/* Path of `relative` ("plots/frontier.gp", "configs/models"): under $FRONTIER_DATA, else under the folder above the one
 * the program lies in (a build tree), else under its ../share/frontier (installed). Error: in none of them. */
sf_status sf_data_path(const char *relative, char out[4096]);

#endif

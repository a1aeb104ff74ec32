/* Where Frontier's own files are: plot templates, model shapes. */
#ifndef SF_DATA_H
#define SF_DATA_H

#include "base/status.h"

/* Path of `relative` ("plots/frontier.gp", "configs/models"): under $FRONTIER_DATA, else under the folder above the one
 * the program lies in (a build tree), else under its ../share/frontier (installed). Error: in none of them. */
sf_status sf_data_path(const char *relative, char out[4096]);

/* The path itself where it is there or is absolute; else Frontier's own file of that name, if there is one, in `room`: a config and
 * its models are found from any folder once Frontier is installed. */
const char *sf_data_found(const char *path, char room[4096]);

#endif

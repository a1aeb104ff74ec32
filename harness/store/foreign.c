/* Results files travel, so that what one says is not trusted: HDF5 would follow its links into other files, read rows
 * from wherever it says they lie, and load a shared object to unpack them. */
#include "harness/store/hdf5_inside.h"

sf_status sf_hdf5_check_link(const sf_hdf5 *f, hid_t at, const char *name)
{
    H5L_info_t link;
    if (H5Lexists(at, name, H5P_DEFAULT) <= 0) return SF_OK;
    if (H5Lget_info(at, name, &link, H5P_DEFAULT) < 0)
        return sf_hdf5_fail(f, SF_BAD_INPUT, "the link %s cannot be read", name);
    if (link.type == H5L_TYPE_HARD) return SF_OK;
    return sf_hdf5_fail(f, SF_BAD_INPUT, "%s is %s, which Frontier does not write and does not follow", name,
                        link.type == H5L_TYPE_SOFT       ? "a soft link"
                        : link.type == H5L_TYPE_EXTERNAL ? "a link to another file"
                                                         : "a user-defined link");
}

static sf_status check_storage(const sf_hdf5 *f, const char *cell, const char *name, hid_t list)
{
    if (H5Pget_layout(list) == H5D_VIRTUAL || H5Pget_external_count(list) > 0)
        return sf_hdf5_fail(f, SF_BAD_INPUT, "%s of cell %s says that its rows lie in other files, which are not read",
                            name, cell);
    for (int i = 0; i < H5Pget_nfilters(list); i++) {
        char filter[64] = "";
        size_t values = 0;
        unsigned flags;
        H5Z_filter_t id = H5Pget_filter2(list, (unsigned)i, &flags, &values, NULL, sizeof filter, filter, NULL);
        if (id >= 0 && id < H5Z_FILTER_RESERVED) continue; /* those that are part of the library */
        return sf_hdf5_fail(f, SF_BAD_INPUT,
                            "%s of cell %s was packed by the user-defined filter %d (%s), which is not loaded; unpack it "
                            "with h5repack -f NONE",
                            name, cell, (int)id, *filter ? filter : "without a name");
    }
    return SF_OK;
}

sf_status sf_hdf5_open_dataset(const sf_hdf5 *f, hid_t group, const char *cell, const char *name, hid_t *set)
{
    *set = H5I_INVALID_HID;
    sf_status status = sf_blame(sf_hdf5_check_link(f, group, name), "cell %s", cell);
    if (status != SF_OK) return status;
    *set = H5Dopen2(group, name, H5P_DEFAULT);
    if (*set < 0) return sf_hdf5_fail(f, SF_BAD_INPUT, "cell %s: the column %s is missing or damaged", cell, name);
    hid_t list = H5Dget_create_plist(*set);
    status = list >= 0 ? check_storage(f, cell, name, list)
                       : sf_hdf5_fail(f, SF_BAD_INPUT, "cell %s: the column %s is damaged", cell, name);
    if (list >= 0) H5Pclose(list);
    if (status == SF_OK) return SF_OK;
    H5Dclose(*set);
    *set = H5I_INVALID_HID;
    return status;
}

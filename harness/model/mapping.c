#include "harness/model/mapping.h"

#include "base/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What Git leaves in place of a file that Git LFS keeps and has not fetched: three lines of text. */
static bool is_lfs_pointer(int fd, size_t bytes)
{
    static const char BEGIN[] = "version https://git-lfs.github.com/spec/";
    char found[sizeof BEGIN - 1];
    return bytes < 1024 && pread(fd, found, sizeof found, 0) == (ssize_t)sizeof found &&
           memcmp(found, BEGIN, sizeof found) == 0;
}

static sf_status open_regular(const char *path, int *fd, size_t *bytes)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) return sf_fail(SF_IO, "%s: cannot be opened: %s", path, strerror(errno));
    struct stat st;
    sf_status status = SF_OK;
    if (fstat(*fd, &st) != 0)
        status = sf_fail(SF_IO, "%s: cannot be examined: %s", path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        status = sf_fail(SF_BAD_INPUT, "%s: expected a file, found a directory", path);
    else if (!S_ISREG(st.st_mode))
        status = sf_fail(SF_BAD_INPUT, "%s: expected a regular file, found a device or pipe", path);
    else if (st.st_size == 0)
        status = sf_fail(SF_BAD_INPUT, "%s: the file is empty", path);
    else if (is_lfs_pointer(*fd, (size_t)st.st_size))
        status = sf_fail(SF_BAD_INPUT,
                         "%s: is a Git LFS pointer, not the file itself: run `git lfs pull` in its repository, or"
                         " download it anew",
                         path);
    *bytes = status == SF_OK ? (size_t)st.st_size : 0;
    if (status != SF_OK) close(*fd);
    return status;
}

sf_status sf_map_file(const char *path, sf_mapping *out)
{
    int fd;
    size_t bytes;
    *out = (sf_mapping){0};
    SF_TRY(open_regular(path, &fd, &bytes));
    void *data = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    int error = errno;
    close(fd);
    if (data == MAP_FAILED) return sf_fail(SF_IO, "%s: cannot be mapped (%zu bytes): %s", path, bytes, strerror(error));
    *out = (sf_mapping){data, bytes};
    sf_mapped_add(data, bytes, path);
    return SF_OK;
}

sf_status sf_map_memory(size_t bytes, sf_mapping *out)
{
    *out = (sf_mapping){0};
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return sf_fail(SF_NO_MEMORY, "no memory for %zu bytes of weights: %s", bytes, strerror(errno));
    *out = (sf_mapping){data, bytes};
    return SF_OK;
}

void sf_unmap(sf_mapping *mapping)
{
    if (mapping->data) sf_mapped_drop(mapping->data);
    if (mapping->data) munmap(mapping->data, mapping->bytes);
    *mapping = (sf_mapping){0};
}

sf_status sf_read_text(const char *path, size_t limit, char **text, size_t *bytes)
{
    int fd;
    size_t size;
    *text = NULL;
    SF_TRY(open_regular(path, &fd, &size));
    sf_status status = SF_OK;
    if (size > limit) {
        status = sf_fail(SF_BAD_INPUT, "%s: expected at most %zu bytes, found %zu", path, limit, size);
    } else if (!(*text = malloc(size + 1))) {
        status = sf_fail(SF_NO_MEMORY, "%s: no memory for its %zu bytes", path, size);
    } else {
        size_t done = 0;
        for (ssize_t n; done < size && (n = read(fd, *text + done, size - done)) != 0; done += (size_t)n) {
            if (n < 0 && errno == EINTR)
                n = 0;
            else if (n < 0) {
                status = sf_fail(SF_IO, "%s: cannot be read: %s", path, strerror(errno));
                break;
            }
        }
        (*text)[done] = '\0';
        *bytes = done;
    }
    close(fd);
    if (status != SF_OK) {
        free(*text);
        *text = NULL;
    }
    return status;
}

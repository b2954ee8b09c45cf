/* The files of a configuration: which ones there are, and their bytes.
 *
 * Only regular files are read, and no more than CONFIG_FILE_MAX bytes of one: a configuration that
 * is a FIFO or a device would block the program that reads it, or never end.
 *
 * Owns:   results are the caller's to free().
 * Errors: 0 or -errno; -EISDIR, -EBADFD or -ENXIO for what is no regular file, -EFBIG, -E2BIG for
 *         too many files. */
#ifndef USHER_DAEMON_CONFIG_FILE_H
#define USHER_DAEMON_CONFIG_FILE_H

#include <stddef.h>

#define CONFIG_FILE_MAX  (1024UL * 1024)
#define CONFIG_FILES_MAX 256

/* The bytes of a file. */
int config_file_read(const char *path, char **ret, size_t *ret_size);

/* What an error of these functions means for a file or folder. */
const char *config_file_error(int err);

/* The folder conf.d beside a file. Returns 0 or -ENOMEM. */
int config_file_folder(const char *path, char **ret);

/* The paths of the *.yaml files in a folder, hidden ones left out, in the order of their names.
 * A folder that does not exist has none. On success config_file_list_free() frees the list. */
int config_file_list(const char *folder, char ***ret, size_t *ret_n);
void config_file_list_free(char **list, size_t n);

#endif

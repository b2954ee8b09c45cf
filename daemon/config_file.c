#include "daemon/config_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/macros.h"

static int read_all(int fd, char *bytes, size_t size, size_t *ret_size)
{
	size_t used = 0;

	while (used < size) {
		ssize_t n = read(fd, bytes + used, size - used);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}

	*ret_size = used;
	return 0;
}

/* Without O_NONBLOCK the open of a FIFO would wait for its other end. */
static int open_regular(const char *path, int *ret)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd == -1 || fstat(fd, &st) == -1)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EBADFD;

	*ret = take_fd(&fd);
	return 0;
}

int config_file_read(const char *path, char **ret, size_t *ret_size)
{
	AUTO_CLOSE int fd = -1;
	AUTO_FREE char *bytes = NULL;
	size_t size = 0;

	int err = open_regular(path, &fd);
	if (err)
		return err;

	/* One byte more than allowed tells a file that is too large, even while it grows. */
	bytes = malloc(CONFIG_FILE_MAX + 1);
	if (!bytes)
		return -ENOMEM;
	err = read_all(fd, bytes, CONFIG_FILE_MAX + 1, &size);
	if (err)
		return err;
	if (size > CONFIG_FILE_MAX)
		return -EFBIG;

	*ret = bytes;
	bytes = NULL;
	*ret_size = size;
	return 0;
}

const char *config_file_error(int err)
{
	switch (err) {
	case -EISDIR:
		return "is a folder, not a file";
	case -EBADFD:
	case -ENXIO: /* a Unix socket, or a device that is not there: see open(2) */
		return "is not a regular file";
	case -EFBIG:
		return "is larger than 1 MiB";
	case -E2BIG:
		return "holds more than 256 files";
	default:
		return strerror(-err);
	}
}

int config_file_folder(const char *path, char **ret)
{
	const char *slash = strrchr(path, '/');
	int size = slash ? (int)(slash - path) + 1 : 0;

	return asprintf(ret, "%.*sconf.d", size, path) == -1 ? -ENOMEM : 0;
}

static int is_yaml(const struct dirent *entry)
{
	static const char suffix[] = ".yaml";
	size_t length = strlen(entry->d_name);

	return entry->d_name[0] != '.' && length >= sizeof(suffix) &&
	       strcmp(entry->d_name + length - (sizeof(suffix) - 1), suffix) == 0;
}

/* Unlike alphasort(3), the same order in every locale. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int join_paths(const char *folder, struct dirent **entries, size_t n, char ***ret)
{
	char **list = calloc(n ? n : 1, sizeof(*list));

	if (!list)
		return -ENOMEM;

	for (size_t i = 0; i < n; i++) {
		if (asprintf(&list[i], "%s/%s", folder, entries[i]->d_name) != -1)
			continue;
		config_file_list_free(list, i);
		return -ENOMEM;
	}

	*ret = list;
	return 0;
}

int config_file_list(const char *folder, char ***ret, size_t *ret_n)
{
	struct dirent **entries = NULL;

	int n = scandir(folder, &entries, is_yaml, compare_names);
	if (n == -1 && errno != ENOENT)
		return -errno;

	size_t count = n == -1 ? 0 : (size_t)n;
	int err = count > CONFIG_FILES_MAX ? -E2BIG : join_paths(folder, entries, count, ret);
	for (size_t i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
	if (err)
		return err;

	*ret_n = count;
	return 0;
}

void config_file_list_free(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

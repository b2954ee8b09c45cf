#include "daemon/control_socket.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/macros.h"

#define BACKLOG 64

static int fill_address(const char *path, struct sockaddr_un *address)
{
	size_t length = strlen(path);

	if (length >= sizeof(address->sun_path))
		return -ENAMETOOLONG;

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(address->sun_path, path, length);
	return 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Returns 0, and which file it was, when path is a socket that nobody listens on any more. */
static int find_stale(const char *path, struct stat *ret)
{
	AUTO_CLOSE int fd = -1;
	struct sockaddr_un address;
	int r;

	if (lstat(path, ret) == -1)
		return -errno;
	if (!S_ISSOCK(ret->st_mode))
		return -ENOTSOCK;

	r = fill_address(path, &address);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -errno;

	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return -EADDRINUSE;
	if (errno == ECONNREFUSED)
		return 0;
	/* A full queue or a socket of another type is somebody, too. */
	return errno == EAGAIN || errno == EPROTOTYPE ? -EADDRINUSE : -errno;
}

/* Swaps the files, so that path is never absent, and looks at what came out: another usherd may
 * have put its own there since we asked. */
static int replace_stale(const char *made, const char *path)
{
	struct stat stale, taken_out;
	int r;

	r = find_stale(path, &stale);
	if (r < 0)
		return r;

	if (renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_EXCHANGE) == -1)
		return -errno;
	if (lstat(made, &taken_out) == 0 && same_file(&taken_out, &stale))
		return unlink(made) == -1 ? -errno : 0;

	if (renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_EXCHANGE) == -1)
		return -errno;
	return -EADDRINUSE;
}

static int put_in_place(const char *made, const char *path)
{
	if (renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
		return 0;
	return errno == EEXIST ? replace_stale(made, path) : -errno;
}

/* Gives the bound socket its rights before anyone can reach it by its real name. */
static int dress(int fd, const char *made, mode_t mode, gid_t group, struct stat *ret)
{
	if (group != (gid_t)-1 && chown(made, (uid_t)-1, group) == -1)
		return -errno;
	if (chmod(made, mode) == -1)
		return -errno;
	if (listen(fd, BACKLOG) == -1)
		return -errno;
	return lstat(made, ret) == -1 ? -errno : 0;
}

static int bind_beside(int fd, const char *made)
{
	struct sockaddr_un address;
	int r;

	r = fill_address(made, &address);
	if (r < 0)
		return r;

	/* A leftover of ours: no other process that lives has this pid in its name. */
	if (unlink(made) == -1 && errno != ENOENT)
		return -errno;

	/* The file gets the socket's mode (less the umask), so it is closed to others from birth.
	 */
	if (fchmod(fd, 0600) == -1)
		return -errno;
	return bind(fd, (const struct sockaddr *)&address, sizeof(address)) == -1 ? -errno : 0;
}

int control_socket_open(const char *path, mode_t mode, gid_t group, struct control_socket *ret)
{
	AUTO_CLOSE int fd = -1;
	char made[CONTROL_PATH_SIZE];
	struct stat st = {0};
	int r;

	r = snprintf(made, sizeof(made), "%s.%d", path, (int)getpid());
	if (r < 0 || (size_t)r >= sizeof(made))
		return -ENAMETOOLONG;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -errno;

	r = bind_beside(fd, made);
	if (r < 0)
		return r;
	r = dress(fd, made, mode, group, &st);
	if (r == 0)
		r = put_in_place(made, path);
	if (r < 0) {
		unlink(made);
		return r;
	}

	ret->fd = take_fd(&fd);
	memcpy(ret->path, path, strlen(path) + 1);
	ret->device = st.st_dev;
	ret->inode = st.st_ino;
	return 0;
}

void control_socket_close(struct control_socket *s)
{
	struct stat st;

	if (lstat(s->path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode)
		unlink(s->path);
	close_fd(take_fd(&s->fd));
}

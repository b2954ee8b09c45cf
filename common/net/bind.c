#include "common/net/bind.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/macros.h"
#include "common/net/resolve.h"
#include "common/net/stream.h"

/* Remembers which call is being made, for the message if it fails. */
#define TRYING(name) (*ret_syscall = (name))

static int open_socket(int family, int *ret)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd == -1)
		return -errno;

	*ret = fd;
	return 0;
}

static int set_flag(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) == -1 ? -errno : 0;
}

static int listen_backlog(int fd, int backlog)
{
	return listen(fd, backlog == 0 ? BIND_BACKLOG_DEFAULT : backlog) == -1 ? -errno : 0;
}

/* --- TCP ------------------------------------------------------------------------------------- */

static int set_tcp_options(int fd, const struct addr *addr, const struct bind_options *options)
{
	int r = set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1);

	if (r == 0 && options->reuse_port)
		r = set_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1);

	/* Said either way: the system's default (net.ipv6.bindv6only) must not decide. */
	if (r == 0 && addr_family(addr) == 6)
		r = set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, options->ipv6_only);
	return r;
}

static int bind_tcp(const struct addr *addr, const struct bind_options *options, int *ret,
		    const char **ret_syscall)
{
	AUTO_CLOSE int fd = -1;
	int r;

	TRYING("socket");
	r = open_socket(addr->sa.sa_family, &fd);
	if (r < 0)
		return r;

	TRYING("setsockopt");
	r = set_tcp_options(fd, addr, options);
	if (r < 0)
		return r;

	TRYING("bind");
	if (bind(fd, &addr->sa, addr->len) == -1)
		return -errno;

	*ret = take_fd(&fd);
	return 0;
}

/* Tries "::" by a real bind, since only that tells whether IPv6 works here. */
static int bind_any(const struct bind_options *options, int *ret, const char **ret_syscall)
{
	struct addr addr;
	int r;

	addr_any(AF_INET6, options->port, &addr);
	r = bind_tcp(&addr, options, ret, ret_syscall);
	if (r == 0 || r == -EADDRINUSE || options->ipv6_only)
		return r;

	addr_any(AF_INET, options->port, &addr);
	return bind_tcp(&addr, options, ret, ret_syscall);
}

static bool is_link_local(const struct addr *addr)
{
	return addr_family(addr) == 6 && IN6_IS_ADDR_LINKLOCAL(&addr->in6.sin6_addr);
}

const struct addr *bind_choose(const struct addr *addresses, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!is_link_local(&addresses[i]))
			return &addresses[i];
	return addresses;
}

/* A name is asked for here and now. */
static int resolve(const char *host, uint16_t port, struct addr *ret)
{
	const struct resolve_request request = {.host = host, .port = port};
	struct resolve_result result = {0};
	int r = addr_parse(host, port, ret);

	if (r != -EINVAL)
		return r;

	r = resolve_check(&request);
	if (r == 0)
		r = resolve_name(&request, &result);
	if (r < 0)
		return r;

	assert(result.count > 0);
	*ret = *bind_choose(result.addresses, result.count);
	free(result.addresses);
	return 0;
}

static int open_tcp(const struct bind_options *options, struct bound *bound,
		    const char **ret_syscall)
{
	struct addr addr;
	int r;

	if (!options->host)
		return bind_any(options, &bound->fd, ret_syscall);

	TRYING("getaddrinfo");
	r = resolve(options->host, options->port, &addr);
	if (r < 0)
		return r;

	return bind_tcp(&addr, options, &bound->fd, ret_syscall);
}

/* --- Unix ------------------------------------------------------------------------------------ */

int bind_absolute_path(const char *path, char **ret)
{
	char directory[PATH_MAX];

	if (path[0] == '/' || path[0] == '@') {
		*ret = strdup(path);
		return *ret ? 0 : -ENOMEM;
	}

	if (!getcwd(directory, sizeof(directory)))
		return -errno;
	return asprintf(ret, "%s/%s", directory, path) < 0 ? -ENOMEM : 0;
}

/* Asked by a datagram socket, which gets EPROTOTYPE and leaves nothing in the queue (unix(7)). */
static bool nobody_is_bound(const struct addr *addr)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd == -1)
		return false;
	return connect(fd, &addr->sa, addr->len) == -1 && errno == ECONNREFUSED;
}

/* Removes the socket file of a dead server. The file must be the same before and after the
 * question, or somebody has just made a new one. */
static int remove_stale(const struct addr *addr)
{
	const char *path = addr->un.sun_path;
	struct stat before, after;

	if (lstat(path, &before) == -1)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(before.st_mode) || !nobody_is_bound(addr))
		return -EADDRINUSE;
	if (lstat(path, &after) == -1)
		return errno == ENOENT ? 0 : -errno;
	if (after.st_dev != before.st_dev || after.st_ino != before.st_ino)
		return -EADDRINUSE;

	return unlink(path) == -1 && errno != ENOENT ? -errno : 0;
}

static int bind_path(int fd, const struct addr *addr, bool replace_stale)
{
	int r;

	if (bind(fd, &addr->sa, addr->len) == 0)
		return 0;
	if (errno != EADDRINUSE || !replace_stale || addr_is_abstract(addr))
		return -errno;

	r = remove_stale(addr);
	if (r < 0)
		return r;
	return bind(fd, &addr->sa, addr->len) == -1 ? -errno : 0;
}

static int set_access(const char *path, const struct stat *made, const struct bind_options *options,
		      const char **ret_syscall)
{
	mode_t mode = options->set_mode ? options->mode : made->st_mode & 07777;

	if (options->readable_all)
		mode |= S_IRUSR | S_IRGRP | S_IROTH;
	if (options->writable_all)
		mode |= S_IWUSR | S_IWGRP | S_IWOTH;

	/* A service may be forbidden the very call, so it is made only to change something. */
	bool gives_away = (options->uid != (uid_t)-1 && options->uid != made->st_uid) ||
			  (options->gid != (gid_t)-1 && options->gid != made->st_gid);

	TRYING("chown");
	if (options->set_owner && gives_away && lchown(path, options->uid, options->gid) == -1)
		return -errno;

	TRYING("chmod");
	if (mode != (made->st_mode & 07777) && chmod(path, mode) == -1)
		return -errno;
	return 0;
}

/* Takes note of the file that bind(2) has just made. */
static int own_file(struct bound *bound, const char *path, struct stat *made)
{
	int r = bind_absolute_path(path, &bound->path);

	if (r == 0 && lstat(bound->path, made) == -1)
		r = -errno;
	if (r < 0) {
		unlink(path);
		return r;
	}

	bound->maker = getpid();
	bound->dev = made->st_dev;
	bound->ino = made->st_ino;
	return 0;
}

static int open_unix(const struct bind_options *options, struct bound *bound,
		     const char **ret_syscall)
{
	struct addr addr;
	struct stat made;
	int r;

	TRYING("bind");
	r = addr_unix(options->path, &addr);
	if (r < 0)
		return r;
	if (addr_is_abstract(&addr) && (options->readable_all || options->writable_all ||
					options->set_mode || options->set_owner))
		return -EINVAL;

	TRYING("socket");
	r = open_socket(AF_UNIX, &bound->fd);
	if (r < 0)
		return r;

	TRYING("bind");
	r = bind_path(bound->fd, &addr, options->replace_stale);
	if (r < 0 || addr_is_abstract(&addr))
		return r;

	r = own_file(bound, options->path, &made);
	if (r < 0)
		return r;
	return set_access(bound->path, &made, options, ret_syscall);
}

/* --- both ------------------------------------------------------------------------------------ */

static int start_listening(struct bound *bound, int backlog, const char **ret_syscall)
{
	int r;

	TRYING("listen");
	r = listen_backlog(bound->fd, backlog);
	if (r < 0)
		return r;

	TRYING("getsockname");
	return addr_of_socket(bound->fd, &bound->addr);
}

static int finish_bound(struct bound *bound, const struct bind_options *options,
			const char **ret_syscall)
{
	if (!options->only_bind)
		return start_listening(bound, options->backlog, ret_syscall);
	TRYING("getsockname");
	return addr_of_socket(bound->fd, &bound->addr);
}

int bind_open(const struct bind_options *options, struct bound *ret, const char **ret_syscall)
{
	struct bound bound = {.fd = -1};
	int r;

	TRYING("bind");
	if (!options->has_port && !options->path)
		return -EINVAL;

	r = options->has_port ? open_tcp(options, &bound, ret_syscall)
			      : open_unix(options, &bound, ret_syscall);
	if (r == 0)
		r = finish_bound(&bound, options, ret_syscall);
	if (r < 0) {
		bound_close(&bound);
		return r;
	}

	*ret = bound;
	return 0;
}

int bind_check_listening(int fd)
{
	int type, listening;
	socklen_t size = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == -1)
		return -errno;
	if (type != SOCK_STREAM)
		return -ESOCKTNOSUPPORT;

	size = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == -1)
		return -errno;
	return listening ? 0 : -EINVAL;
}

int bind_adopt(int fd, int backlog, struct bound *ret, const char **ret_syscall)
{
	struct bound bound = {.fd = fd};
	int listens = bind_check_listening(fd);
	int r;

	TRYING("listen");
	if (listens < 0 && listens != -EINVAL)
		return -EINVAL;

	TRYING("fcntl");
	r = stream_prepare(fd);
	if (r < 0)
		return r;

	/* The queue belongs to all who hold the socket: nobody changes it without being asked. */
	TRYING("getsockname");
	r = listens == 0 && backlog == 0 ? addr_of_socket(fd, &bound.addr)
					 : start_listening(&bound, backlog, ret_syscall);
	if (r < 0)
		return r;

	*ret = bound;
	return 0;
}

static void remove_own_file(struct bound *bound)
{
	struct stat now;

	if (bound->path && bound->maker == getpid() && lstat(bound->path, &now) == 0 &&
	    now.st_dev == bound->dev && now.st_ino == bound->ino)
		unlink(bound->path);
	bound_detach(bound);
}

void bound_close(struct bound *bound)
{
	int saved = errno;

	/* The file first: a name that leads nowhere would look stale to others. */
	remove_own_file(bound);
	if (bound->fd >= 0)
		close(take_fd(&bound->fd));
	errno = saved;
}

void bound_detach(struct bound *bound)
{
	free(bound->path);
	bound->path = NULL;
}

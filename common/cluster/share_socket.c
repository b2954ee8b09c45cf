#include "common/cluster/share_socket.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "common/macros.h"

/* A path that is too long for an address may be short enough from where we stand. */
static const char *shorter(const char *path)
{
	static char folder[PATH_MAX];
	size_t size;

	if (path[0] != '/' || strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path) ||
	    !getcwd(folder, sizeof(folder)))
		return path;
	size = strlen(folder);
	return strncmp(path, folder, size) == 0 && path[size] == '/' && path[size + 1] != '/'
		       ? path + size + 1
		       : path;
}

/* The caller's own stays what it is, also when two shares are made of it. */
static int open_descriptor(const struct share_request *request, struct bound *ret)
{
	AUTO_CLOSE int fd = fcntl(request->fd, F_DUPFD_CLOEXEC, 3);
	const char *syscall;
	int error;

	if (fd == -1)
		return -errno;
	error = bind_adopt(fd, request->backlog, ret, &syscall);
	if (error == 0)
		take_fd(&fd);
	return error;
}

static int open_path(const struct share_request *request, bool listens, struct bound *ret)
{
	const char *syscall;
	struct bind_options options = {
		.path = shorter(request->text),
		.backlog = request->backlog,
		.only_bind = !listens,
		.readable_all = request->readable_all,
		.writable_all = request->writable_all,
	};

	return bind_open(&options, ret, &syscall);
}

static int open_port(const struct share_request *request, const struct addr *addr,
		     struct bound *ret)
{
	struct net_address host;
	const char *syscall;
	struct bind_options options = {
		.has_port = true,
		.port = request->port,
		.backlog = request->backlog,
		.ipv6_only = request->ipv6_only,
	};

	if (request->text) {
		addr_to_net(addr, &host);
		options.host = host.address;
	}
	return bind_open(&options, ret, &syscall);
}

int share_socket_open(const struct share_request *request, const struct addr *addr,
		      const struct rights *rights, bool paths_listen, struct bound *ret)
{
	struct rights_saved saved;
	int error;

	if (request->kind == IPC_LISTEN_FD)
		return open_descriptor(request, ret);

	error = rights_borrow(rights, &saved);
	if (error < 0)
		return error;
	error = request->kind == IPC_LISTEN_PATH ? open_path(request, paths_listen, ret)
						 : open_port(request, addr, ret);
	rights_return(rights, &saved);
	return error;
}

/* Without those rights the file stays: it may not be ours to remove. */
void share_socket_close(struct bound *bound, const struct rights *rights)
{
	struct rights_saved saved;

	if (bound->path && rights_borrow(rights, &saved) == 0) {
		bound_close(bound);
		rights_return(rights, &saved);
		return;
	}
	bound_detach(bound);
	bound_close(bound);
}

#include "daemon/activation.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "common/macros.h"
#include "common/net/bind.h"
#include "common/number.h"

#define FIRST_FD     3
#define UNNAMED      "unknown"
#define NAME_MAX_LEN 255 /* what systemd allows in a FileDescriptorName= */

static struct {
	int fds[ACTIVATION_MAX];           /* -1 once taken */
	const char *names[ACTIVATION_MAX]; /* into text */
	char *text;                        /* LISTEN_FDNAMES, cut at its colons */
	size_t count;
} passed;

/* Cuts names into the table; there must be count of them. */
static int split_names(const char *names, size_t count)
{
	char *rest, *name;
	size_t i = 0;

	passed.text = strdup(names);
	if (!passed.text)
		return -ENOMEM;

	rest = passed.text;
	while ((name = strsep(&rest, ":"))) {
		if (i == count || strlen(name) > NAME_MAX_LEN)
			return -EINVAL;
		passed.names[i++] = name;
	}
	return i == count ? 0 : -EINVAL;
}

static int mark_close_on_exec(size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int flags = fcntl(FIRST_FD + (int)i, F_GETFD);

		if (flags == -1 || fcntl(FIRST_FD + (int)i, F_SETFD, flags | FD_CLOEXEC) == -1)
			return -errno;
	}
	return 0;
}

static int adopt(const char *pid_text, const char *count_text, const char *names)
{
	uint64_t pid, count;
	int r;

	if (!pid_text || !count_text)
		return 0;
	if (number_parse(pid_text, INT_MAX, &pid) < 0)
		return -EINVAL;
	if (pid != (uint64_t)getpid())
		return 0;
	r = number_parse(count_text, ACTIVATION_MAX, &count);
	if (r < 0)
		return r == -ERANGE ? -E2BIG : r;

	r = mark_close_on_exec(count);
	if (r < 0)
		return r;

	for (size_t i = 0; i < count; i++) {
		passed.fds[i] = FIRST_FD + (int)i;
		passed.names[i] = UNNAMED;
	}
	if (names && count > 0)
		r = split_names(names, count);
	if (r < 0)
		return r;

	passed.count = count;
	return (int)count;
}

static void forget_all(void)
{
	free(passed.text);
	passed.text = NULL;
	passed.count = 0;
}

int activation_init(void)
{
	int r;

	forget_all();
	r = adopt(getenv("LISTEN_PID"), getenv("LISTEN_FDS"), getenv("LISTEN_FDNAMES"));
	if (r < 0)
		forget_all();

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return r;
}

/* What is unfit stays. */
static int take(int *fd)
{
	int r = bind_check_listening(*fd);

	return r < 0 ? r : take_fd(fd);
}

int activation_take(const char *name)
{
	int result = -ENOENT;

	for (size_t i = 0; i < passed.count; i++) {
		if (strcmp(passed.names[i], name) != 0)
			continue;
		if (passed.fds[i] != -1)
			return take(&passed.fds[i]);
		result = -EBUSY;
	}
	return result;
}

int activation_take_fd(int fd)
{
	size_t i = (size_t)(fd - FIRST_FD);

	if (fd < FIRST_FD || i >= passed.count)
		return -ENOENT;
	return passed.fds[i] == -1 ? -EBUSY : take(&passed.fds[i]);
}

size_t activation_close_rest(activation_unused_fn *fn, void *ctx)
{
	size_t unused = 0;

	for (size_t i = 0; i < passed.count; i++) {
		int fd = take_fd(&passed.fds[i]);

		if (fd == -1)
			continue;
		unused++;
		if (fn)
			fn(passed.names[i], fd, ctx);
		close_fd(fd);
	}
	forget_all();
	return unused;
}

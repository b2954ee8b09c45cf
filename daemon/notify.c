#include "daemon/notify.h"

#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/number.h"

static struct sockaddr_un manager;
static socklen_t manager_length; /* 0: there is no manager */
static uint64_t watchdog_us;     /* 0: no watchdog */

static int parse_address(const char *text)
{
	size_t length = strlen(text);

	if (text[0] != '/' && text[0] != '@')
		return -EAFNOSUPPORT;
	if (length < 2 || length >= sizeof(manager.sun_path))
		return -EINVAL;

	manager = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(manager.sun_path, text, length);
	if (text[0] == '@')
		manager.sun_path[0] = '\0';
	/* An abstract name is as long as the length says; a path ends with its zero. */
	manager_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length +
				     (text[0] == '/'));
	return 0;
}

static int parse_watchdog(const char *usec, const char *pid_text)
{
	uint64_t interval, pid;

	if (number_parse(usec, INT64_MAX, &interval) < 0 || interval == 0)
		return -EINVAL;
	if (pid_text && number_parse(pid_text, INT_MAX, &pid) < 0)
		return -EINVAL;

	/* Another process, a wrapper of ours say, was asked to give signs of life. */
	if (!pid_text || pid == (uint64_t)getpid())
		watchdog_us = interval;
	return 0;
}

int notify_init(void)
{
	const char *address = getenv("NOTIFY_SOCKET");
	const char *usec = getenv("WATCHDOG_USEC");
	int r = 0, bad_watchdog = 0;

	manager_length = 0;
	watchdog_us = 0;
	if (address)
		r = parse_address(address);
	if (usec)
		bad_watchdog = parse_watchdog(usec, getenv("WATCHDOG_PID"));

	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return r < 0 ? r : bad_watchdog;
}

bool notify_wanted(void)
{
	return manager_length > 0;
}

static int send_to_manager(const char *message, size_t size)
{
	AUTO_CLOSE int fd = -1;

	/* Made anew for each message: the manager may have been restarted since the last one. */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -errno;
	if (sendto(fd, message, size, MSG_NOSIGNAL, (const struct sockaddr *)&manager,
		   manager_length) == -1)
		return -errno;
	return 0;
}

int notify_send(const char *format, ...)
{
	char message[NOTIFY_MESSAGE_SIZE + 1];
	va_list args;
	int length;

	if (!notify_wanted())
		return 0;

	va_start(args, format);
	length = vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (length < 0)
		return -EINVAL;
	if ((size_t)length >= sizeof(message))
		return -EMSGSIZE;

	return send_to_manager(message, (size_t)length);
}

double notify_watchdog_interval(void)
{
	return notify_wanted() ? (double)watchdog_us / 2e6 : 0;
}

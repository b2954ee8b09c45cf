#include "common/log.h"

#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>

#define LINE_SIZE 2048
static_assert(LINE_SIZE <= PIPE_BUF, "a pipe that takes something must take a whole line");

/* Of the program's name; a prefix must leave room for the text. */
#define NAME_FORMAT "%.64s"

static const struct {
	int syslog;
	const char *name;
} levels[] = {
	[LOG_LEVEL_ERROR] = {LOG_ERR, "error"},
	[LOG_LEVEL_WARNING] = {LOG_WARNING, "warning"},
	[LOG_LEVEL_INFO] = {LOG_INFO, "info"},
	[LOG_LEVEL_DEBUG] = {LOG_DEBUG, "debug"},
};

static const char *program = "usher";
static enum log_level threshold = LOG_LEVEL_INFO;
static bool to_journal;
static unsigned long n_lost; /* since the last line that was written */

/* Whether standard error is still the stream that the service manager connected to the journal. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_init(const char *name, enum log_level level)
{
	program = name;
	threshold = level;
	to_journal = stderr_is_journal();
	n_lost = 0;
}

static int write_prefix(char *line, size_t size, enum log_level level)
{
	struct timespec now;
	struct tm local;
	char stamp[32];

	if (to_journal)
		return snprintf(line, size, "<%d>", levels[level].syslog);

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &local);
	return snprintf(line, size, "%s.%03ld " NAME_FORMAT "[%d] %s: ", stamp,
			now.tv_nsec / 1000000, program, (int)getpid(), levels[level].name);
}

/* Must not wait for a reader, and not by O_NONBLOCK, which others who have the description would
 * get too. poll(2) calls a pipe writable when PIPE_BUF bytes fit, a file always, a terminal unless
 * it is stopped or full. */
static bool write_at_once(const char *line, size_t size)
{
	struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t written = send(STDERR_FILENO, line, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (written == -1 && errno == ENOTSOCK) {
		/* It fails where RLIMIT_NOFILE is 0, which says nothing of the stream. */
		if (poll(&room, 1, 0) != -1 && !(room.revents & POLLOUT))
			return false;
		written = write(STDERR_FILENO, line, size);
	}
	return written == (ssize_t)size;
}

/* Whatever the threshold is: the lines that were lost were within it. */
static bool tell_lost(void)
{
	char line[LINE_SIZE];
	int used = write_prefix(line, sizeof(line), LOG_LEVEL_WARNING);

	used += snprintf(line + used, sizeof(line) - (size_t)used,
			 "standard error was not read, or failed; lines left out: %lu\n", n_lost);
	return write_at_once(line, (size_t)used);
}

static void write_line(const char *line, size_t size)
{
	if (n_lost > 0 && tell_lost())
		n_lost = 0;
	if (n_lost > 0 || !write_at_once(line, size))
		n_lost++;
}

void log_write(enum log_level level, const char *format, ...)
{
	int saved = errno;
	char line[LINE_SIZE];
	va_list args;
	int used;

	if (level > threshold)
		return;

	used = write_prefix(line, sizeof(line), level);
	va_start(args, format);
	errno = saved; /* for %m */
	int text = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, args);
	va_end(args);

	size_t length = (size_t)used + (text > 0 ? (size_t)text : 0);
	if (length > sizeof(line) - 2)
		length = sizeof(line) - 2;

	/* A line break inside would forge a second line. */
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = ' ';
	line[length++] = '\n';

	write_line(line, length);
	errno = saved;
}

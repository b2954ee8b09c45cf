/* One line per decision, to standard error.
 *
 * On a terminal or in a file a line is "TIME PROGRAM[PID] LEVEL: TEXT"; when standard error is the
 * journal's (JOURNAL_STREAM names its device and inode) it is "<N>TEXT", so that journald knows the
 * level. Control characters in it become spaces; what exceeds 2 KiB is cut off.
 *
 * Errors: none; a line that cannot be written at once is lost, and the next one that can comes
 *         after a line that says how many were. errno is kept. That the reader of standard error
 *         has gone must not end the program: it has to ignore SIGPIPE.
 * Limits: waits still where another process fills a pipe between our look and our write, and in a
 *         terminal that has room for a part of the line.
 * Source: sd-daemon(3) for the prefixes, systemd.exec(5) for JOURNAL_STREAM, pipe(7) for what a
 *         pipe takes whole. */
#ifndef USHER_COMMON_LOG_H
#define USHER_COMMON_LOG_H

#include "common/macros.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Prepares the form of the lines; name stands before each text and is borrowed. Lines above
 * level are left out. Called once by a program, before its first line. */
void log_init(const char *name, enum log_level level);

void log_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif

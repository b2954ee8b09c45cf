#include "common/net/error.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/macros.h"

/*        suffix of NET_ERR_             name                                  message */
#define ERROR_TABLE(X)                                                                             \
	X(SERVER_ALREADY_LISTEN, "ERR_SERVER_ALREADY_LISTEN",                                      \
	  "Listen method has been called more than once without closing.")                         \
	X(SERVER_NOT_RUNNING, "ERR_SERVER_NOT_RUNNING", "Server is not running.")                  \
	X(SOCKET_BAD_PORT, "ERR_SOCKET_BAD_PORT", "Port should be >= 0 and < 65536.")              \
	X(MISSING_ARGS, "ERR_MISSING_ARGS", "The \"port\" or \"path\" option must be given.")      \
	X(INVALID_ARG_VALUE, "ERR_INVALID_ARG_VALUE", "An argument has an invalid value.")         \
	X(OUT_OF_RANGE, "ERR_OUT_OF_RANGE", "A value is out of range.")                            \
	X(INVALID_IP_ADDRESS, "ERR_INVALID_IP_ADDRESS", "Invalid IP address.")                     \
	X(INVALID_ADDRESS_FAMILY, "ERR_INVALID_ADDRESS_FAMILY", "Invalid address family.")         \
	X(INVALID_FD_TYPE, "ERR_INVALID_FD_TYPE", "The descriptor is not a stream socket.")        \
	X(INVALID_HANDLE_TYPE, "ERR_INVALID_HANDLE_TYPE", "This handle type does not allow that.") \
	X(SOCKET_CLOSED, "ERR_SOCKET_CLOSED", "Socket is closed")                                  \
	X(SOCKET_CLOSED_BEFORE_CONNECTION, "ERR_SOCKET_CLOSED_BEFORE_CONNECTION",                  \
	  "Socket closed before the connection was established")                                   \
	X(SOCKET_CONNECTION_TIMEOUT, "ERR_SOCKET_CONNECTION_TIMEOUT", "Socket connection timeout") \
	X(STREAM_WRITE_AFTER_END, "ERR_STREAM_WRITE_AFTER_END", "write after end")                 \
	X(STREAM_DESTROYED, "ERR_STREAM_DESTROYED", "The stream was destroyed")                    \
	X(STREAM_ALREADY_FINISHED, "ERR_STREAM_ALREADY_FINISHED",                                  \
	  "The stream had already finished")                                                       \
	X(IP_BLOCKED, "ERR_IP_BLOCKED", "The address is blocked by the block list")                \
	X(NOT_FOUND, "ENOTFOUND", "name not known")                                                \
	X(EAI_AGAIN, "EAI_AGAIN", "temporary failure of the resolver")                             \
	X(EAI_FAIL, "EAI_FAIL", "failure of the resolver")                                         \
	X(ALL_FAILED, "ERR_ALL_FAILED", "All attempts to connect failed")                          \
	X(WRITE_LIMIT, "ERR_WRITE_LIMIT", "More bytes are waiting than write_limit allows")        \
	X(IPC_CHANNEL_CLOSED, "ERR_IPC_CHANNEL_CLOSED", "Channel closed")                          \
	X(IPC_DISCONNECTED, "ERR_IPC_DISCONNECTED", "IPC channel is already disconnected")

static const struct {
	int code;
	const char *name;
	const char *message;
} table[] = {
#define ROW(suffix, name, message) {NET_ERR_##suffix, name, message},
	ERROR_TABLE(ROW)
#undef ROW
};

const char *net_error_name(int code)
{
	const char *name = code < 0 ? strerrorname_np(-code) : NULL;

	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].code == code)
			return table[i].name;
	return name ? name : "UNKNOWN";
}

const char *net_error_message(int code)
{
	const char *message = code < 0 ? strerrordesc_np(-code) : NULL;

	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].code == code)
			return table[i].message;
	return message ? message : "unknown error";
}

/* Appends to text as much as fits. */
PRINTF_LIKE(2, 3)
static void append(char text[ERROR_TEXT_SIZE], const char *format, ...);
static void append(char text[ERROR_TEXT_SIZE], const char *format, ...)
{
	size_t used = strlen(text);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text + used, ERROR_TEXT_SIZE - used, format, arguments);
	va_end(arguments);
}

/* A port of 0 says nothing, so the address then stands alone. */
static void append_address(char text[ERROR_TEXT_SIZE], const struct addr *addr)
{
	char both[ADDR_TEXT_SIZE];
	struct net_address alone;

	addr_format(addr, both, sizeof(both));
	addr_to_net(addr, &alone);
	append(text, " %s", alone.port == 0 ? alone.address : both);
}

/* "address already in use": the system's words, fitting into a sentence. */
static void append_message(char text[ERROR_TEXT_SIZE], int code)
{
	const char *message = net_error_message(code);
	bool word = isupper((unsigned char)message[0]) && islower((unsigned char)message[1]);

	append(text, ": %c%s", word ? tolower((unsigned char)message[0]) : message[0], message + 1);
}

static void write_text(const struct error_source *source, char text[ERROR_TEXT_SIZE])
{
	text[0] = '\0';
	if (!source->syscall) {
		append(text, "%s", net_error_message(source->code));
		return;
	}

	append(text, "%s %s", source->syscall, net_error_name(source->code));
	if (strcmp(source->syscall, "listen") == 0)
		append_message(text, source->code);

	if (source->host)
		append(text, " %.255s", source->host);
	else if (source->addr)
		append_address(text, source->addr);

	if (source->local) {
		char local[ADDR_TEXT_SIZE];

		addr_format(source->local, local, sizeof(local));
		append(text, " - Local (%s)", local);
	}
}

void error_fill(const struct error_source *source, char text[ERROR_TEXT_SIZE],
		struct net_error *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->code = source->code;
	ret->syscall = source->syscall;
	ret->host = source->host;
	if (source->addr)
		addr_to_net(source->addr, &ret->address);

	write_text(source, text);
	ret->text = text;
}

bool error_is_of_one_connection(int error)
{
	switch (error) {
	case EINTR:
	case ECONNABORTED:
	case EPERM:
	case EPROTO:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
		return true;
	default:
		return false;
	}
}

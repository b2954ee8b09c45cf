#include "worker/counting.h"

#include "common/net/server.h"
#include "worker/service.h"

size_t counting_news(struct service_list *services, struct ipc_counted_row *rows, size_t room)
{
	struct service *service;
	size_t n_rows = 0;

	LIST_FOREACH (service, services, link) {
		uint32_t count;

		if (!service->tell_connections || n_rows == room)
			continue;
		count = (uint32_t)net_server_connections(service->server);
		if (count == service->told)
			continue;
		service->told = count;
		rows[n_rows++] = (struct ipc_counted_row){service->listener, count};
	}
	return n_rows;
}

size_t counting_fill(struct service **next, struct ipc_counted_row *rows, size_t room)
{
	struct service *service;
	size_t n_rows = 0;

	for (service = *next; service; service = LIST_NEXT(service, link)) {
		bool is_same = n_rows > 0 && rows[n_rows - 1].listener == service->listener;

		if (!is_same && n_rows == room)
			break;
		service->told = (uint32_t)net_server_connections(service->server);
		if (is_same)
			rows[n_rows - 1].connections += service->told;
		else
			rows[n_rows++] = (struct ipc_counted_row){service->listener, service->told};
	}
	*next = service;
	return n_rows;
}

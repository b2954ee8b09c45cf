// A server in C++ that says hello: greeter [PORT|PATH]
#include <cstdio>
#include <cstdlib>
#include <string>

#include <ev.h>
#include <usher/net.h>

namespace
{

class Greeter
{
public:
	explicit Greeter(const std::string &where) : where_(where)
	{
		ops_.on_listening = on_listening;
		ops_.on_connection = on_connection;
		ops_.on_error = on_error;
	}

	~Greeter()
	{
		net_server_free(server_);
	}

	int listen(struct ev_loop *loop)
	{
		int r = net_create_server(loop, nullptr, &ops_, this, &server_);

		if (r < 0)
			return r;
		if (where_.find('/') != std::string::npos)
			return net_server_listen_path(server_, where_.c_str(), 0, nullptr, nullptr);
		return net_server_listen_port(server_, std::stoi(where_), nullptr, 0, nullptr,
					      nullptr);
	}

private:
	static void on_listening(net_server *, void *)
	{
		std::puts("server bound");
		std::fflush(stdout);
	}

	static void on_connection(net_server *, net_socket *socket, void *ctx)
	{
		auto *self = static_cast<Greeter *>(ctx);
		std::string text = "hello, " + std::to_string(++self->count_) + "\n";
		int r = net_socket_end(socket, text.data(), text.size(), nullptr, nullptr);

		if (r < 0)
			net_socket_destroy(socket, r);
		net_socket_resume(socket);
	}

	static void on_error(net_server *, const net_error *error, void *)
	{
		std::fprintf(stderr, "%s\n", error->text);
		std::exit(EXIT_FAILURE);
	}

	std::string where_;
	net_server_ops ops_{};
	net_server *server_ = nullptr;
	unsigned count_ = 0;
};

} // namespace

int main(int argc, char *argv[])
{
	Greeter greeter(argc > 1 ? argv[1] : "8125");
	struct ev_loop *loop = ev_default_loop(0);
	int r = greeter.listen(loop);

	if (r < 0) {
		std::fprintf(stderr, "%s\n", net_error_message(r));
		return EXIT_FAILURE;
	}

	ev_run(loop, 0);
	return EXIT_SUCCESS;
}

//! nginx as a server behind, if it is installed.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::gateway::wait_for;

/// A running nginx, killed by its process id when dropped.
pub(crate) struct Nginx {
    child: Child,
    folder: TempDir,
    pub(crate) address: SocketAddr,
}

impl Nginx {
    /// One that tells what it was asked, and writes down each request with its status. `None`, and a line, without nginx.
    pub(crate) fn start() -> Option<Nginx> {
        let found = Command::new("nginx").arg("-v").stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            println!("skipped: nginx is not installed");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().display().to_string();
        // A port that is free now is as good as any: nobody else asks for one by its number.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log info;\n\
             events {{ }}\n\
             http {{\n\
               log_format seen '$status $request_method $request_uri';\n\
               access_log {at}/access.log seen;\n\
               client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;\n\
               uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi; client_max_body_size 0; merge_slashes off;\n\
               large_client_header_buffers 4 64k;\n\
               server {{\n\
                 listen {address};\n\
                 location / {{ add_header X-Seen 1 always; return 200 \"seen $request_uri\"; }}\n\
                 location /files/ {{ alias {at}/; }}\n\
               }}\n\
             }}\n"
        );
        fs::write(folder.path().join("nginx.conf"), config).expect("a file");
        let conf = format!("{at}/nginx.conf");
        let arguments = ["-p", &at, "-c", &conf, "-e", &format!("{at}/error.log")];
        let child = Command::new("nginx").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let nginx = Nginx { child: child.expect("it was there a moment ago"), folder, address };
        wait_for("nginx", || TcpStream::connect(address).is_ok());
        Some(nginx)
    }

    /// Lays a file out for `/files/NAME`.
    pub(crate) fn lay_out(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join(name), bytes).expect("a file");
    }

    /// Status, method and target of each request so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What it has found wrong with clients.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default();
        text.lines().filter(|line| line.contains("client sent")).map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

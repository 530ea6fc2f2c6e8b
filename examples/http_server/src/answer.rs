use std::io::{self, ErrorKind};
use std::path::Path;

use nix::errno::Errno;

use super::document::Document;
use super::listing;
use super::request::Request;
use super::response::Response;
use super::root::{Node, Root};
use super::status::Status;
use super::target::Target;

/// The files that are shown instead of a folder's listing.
const INDEX: [&str; 2] = ["index.html", "index.htm"];

/// The response to a request.
pub fn to(request: &Request, root: &Root) -> Response {
    if !matches!(&*request.method, "GET" | "HEAD") {
        return Response::error(Status::NOT_IMPLEMENTED);
    }
    find(request, root).unwrap_or_else(|error| {
        if !leads_nowhere(&error) {
            log::error!("{}: {error}", request.target.escape_debug());
        }
        Response::error(Status::of(&error))
    })
}

fn find(request: &Request, root: &Root) -> io::Result<Response> {
    let target = Target::new(&request.target);
    let path = target.path();
    match root.node(&path)? {
        Node::File(_) if target.is_folder => Ok(Response::error(Status::NOT_FOUND)),
        Node::File(document) => document.respond(request),
        Node::Folder(_) if !target.is_folder => Ok(Response::redirect(target.folder_url())),
        Node::Folder(folder) => match index(root, &path)? {
            Some(document) => document.respond(request),
            None => listing::respond(&target, &path, &folder, root),
        },
    }
}

fn index(root: &Root, folder: &Path) -> io::Result<Option<Document>> {
    for name in INDEX {
        match root.node(&folder.join(name)) {
            Ok(Node::File(document)) => return Ok(Some(document)),
            Ok(Node::Folder(_)) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether the request is at fault: there is no such file, the name is invalid, or a link leads out of
/// the directory. The library reports the last one without an errno.
fn leads_nowhere(error: &io::Error) -> bool {
    use Errno::{EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO};
    let Some(number) = error.raw_os_error() else {
        return true;
    };
    matches!(
        Errno::from_raw(number),
        EINVAL | ELOOP | ENAMETOOLONG | ENOENT | ENOTDIR | ENXIO
    )
}

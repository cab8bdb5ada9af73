//! The table: routes, a request, what is found.

use super::*;

const ROUTES: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/items"),
    ("POST", "/items"),
    ("GET", "/items/{id}"),
    ("PUT", "/items/{id}"),
    ("HEAD", "/items/{id}"),
    ("GET", "/items/new"),
    ("GET", "/users/{user}/items/{id}.json"),
    ("GET", "/files/{*path}"),
    ("*", "/any"),
    ("POST", "/any"),
    ("GET", "/{{literal}}"),
];

fn method(name: &str) -> Option<Method> {
    (name != "*").then(|| name.parse().expect("a method"))
}

#[track_caller]
fn check(name: &str, path: &str, expect: &str) {
    let mut table = Table::new();
    for (name, pattern) in ROUTES {
        table.add(pattern, method(name), format!("{name} {pattern}")).expect("the routes fit together");
    }
    table.refuse_others(|_, allow| format!("allow {}", allow.to_str().expect("ASCII")));
    let found = match table.find(&method(name).expect("a request has a method"), path.as_bytes()) {
        Found::Route(route, matched) => {
            let values: Vec<_> = matched.iter().map(|range| format!(" {}", &path[range])).collect();
            format!("{route}{}", values.concat())
        }
        Found::WrongMethod(refusal) => refusal.clone(),
        Found::Nothing => "nothing".to_owned(),
    };
    assert_eq!(found, expect);
    // What has a place is found there too, whatever way the place has gone.
    let place = table.place(&method(name).expect("a request has a method"), path.as_bytes());
    assert_eq!(Place::of(Place::words(place)), Some(place));
    assert_eq!(
        place.is_some(),
        ROUTES.iter().any(|(_, pattern)| expect.ends_with(&format!(" {pattern}")) && *pattern == path)
    );
    assert_eq!(place.map_or(expect, |place| table.at(place).expect("it lies there")), expect);
}

#[test]
fn a_path_and_a_method_find_their_route() {
    check("GET", "/", "GET /");
    check("GET", "/items", "GET /items");
    check("POST", "/items", "POST /items");
    check("GET", "/items/7", "GET /items/{id} 7");
    check("GET", "/items/new", "GET /items/new");
    check("GET", "/items/newer", "GET /items/{id} newer");
    check("PUT", "/items/a%2Fb", "PUT /items/{id} a%2Fb");
    check("GET", "/users/ada/items/7.json", "GET /users/{user}/items/{id}.json ada 7");
    check("GET", "/files/a/b.txt", "GET /files/{*path} a/b.txt");
    check("GET", "/{literal}", "GET /{{literal}}");
}

#[test]
fn head_is_answered_by_its_own_route_or_by_gets() {
    check("HEAD", "/items", "GET /items");
    check("HEAD", "/items/7", "HEAD /items/{id} 7");
}

#[test]
fn any_answers_methods_that_have_no_route() {
    check("POST", "/any", "POST /any");
    check("GET", "/any", "* /any");
    check("BREW", "/any", "* /any");
}

#[test]
fn a_known_path_says_what_it_allows() {
    check("DELETE", "/items", "allow GET, HEAD, POST");
    check("DELETE", "/items/7", "allow GET, HEAD, PUT");
}

#[test]
fn other_paths_find_nothing() {
    for path in ["", "*", "/item", "/items/", "/items/7/8", "/files", "/files/", "//"] {
        check("GET", path, "nothing");
    }
}

#[test]
fn patterns_that_do_not_fit_are_refused() {
    let check = |name: &str, pattern: &str, expect: Refused| {
        let mut table = Table::new();
        for (name, pattern) in ROUTES {
            table.add(pattern, method(name), ()).expect("the routes fit together");
        }
        assert_eq!(table.add(pattern, method(name), ()), Err(expect));
    };
    check("GET", "/items", Refused::Taken);
    check("*", "/any", Refused::Taken);
    check("GET", "/items/{name}", Refused::Conflict("/items/{id}".to_owned()));
    check("GET", "items", Refused::Pattern("a path begins with a slash"));
    check("GET", "/x/{*rest}/y", Refused::Pattern("`{*rest}` stands for the rest of a path, at its end"));
    check("GET", "/x/{a}-{b}", Refused::Pattern("a segment of a path has at most one parameter"));
    let many = "/x/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}";
    check("GET", many, Refused::Pattern("a path has at most eight parameters"));
    let brace = "a parameter has a name in braces, `{id}`; a brace itself is written twice, `{{`";
    check("GET", "/x/{", Refused::Pattern(brace));
    check("GET", "/x/{}", Refused::Pattern(brace));
}

#[test]
fn a_patterns_parameters_are_its_names_in_order() {
    let check = |pattern, expect: &[&str]| assert_eq!(parameters(pattern).collect::<Vec<_>>(), expect);
    check("/", &[]);
    check("/{a}/x{b}.y/{*c}", &["a", "b", "c"]);
    check("/{{no}}/{yes}", &["yes"]);
}

use super::parse;

#[test]
fn takes_what_occurred_most_frequent_first() {
    let output = "0,,syscalls:sys_enter_socket,0,100.00,,\n\
                  12,,syscalls:sys_enter_epoll_wait,99,100.00,,\n\
                  300,,syscalls:sys_enter_sendto,99,100.00,,\n\
                  <not counted>,,syscalls:sys_enter_read,0,100.00,,\n\
                  7,,task-clock,99,100.00,,\n\
                  some warning\n";
    assert_eq!(parse(output), [("sendto".to_owned(), 300), ("epoll_wait".to_owned(), 12)]);
}

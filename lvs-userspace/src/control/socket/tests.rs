//! Clients that behave well, and clients that do not.

use std::{io, os::unix::fs::PermissionsExt as _};

use tokio::io::AsyncReadExt as _;

use super::*;

/// Runs a test with a socket whose orders are answered with `done`, on a clock that waits for nobody.
fn with_socket<F: Future<Output = io::Result<()>>>(work: impl FnOnce(PathBuf) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = Socket::listen(folder.path()).unwrap();
        let (sender, mut orders) = mpsc::channel::<Order>(1);
        let answering = async {
            while let Some(order) = orders.recv().await {
                order.reply.send(Answer::Done("done".to_owned())).unwrap();
            }
        };
        tokio::select! {
            () = socket.serve(sender) => unreachable!(),
            () = answering => unreachable!(),
            result = work(folder.path().join(SOCKET)) => result.unwrap(),
        }
    });
    assert!(!folder.path().join(SOCKET).exists(), "the file goes with the socket");
}

async fn ask(stream: &mut BufReader<UnixStream>, request: &str) -> io::Result<String> {
    stream.get_mut().write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    Ok(answer)
}

async fn connect(path: &Path) -> io::Result<BufReader<UnixStream>> {
    Ok(BufReader::new(UnixStream::connect(path).await?))
}

const STATUS: &str = "{\"request\":\"status\"}\n";
const DONE: &str = "{\"done\":\"done\"}\n";

#[test]
fn only_its_owner_may_connect() {
    with_socket(|path| async move {
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        Ok(())
    });
}

#[test]
fn requests_are_answered_one_after_the_other() {
    with_socket(|path| async move {
        let mut stream = connect(&path).await?;
        for _ in 0..3 {
            assert_eq!(ask(&mut stream, STATUS).await?, DONE);
        }
        Ok(())
    });
}

#[test]
fn nonsense_is_answered_and_does_no_harm() {
    with_socket(|path| async move {
        let mut stream = connect(&path).await?;
        for nonsense in ["\n", "hello\n", "{}\n", "{\"request\":\"dance\"}\n", "[[[[\n", "\u{0}\n"]
        {
            let answer = ask(&mut stream, nonsense).await?;
            assert!(answer.contains("not-understood"), "{nonsense:?}: {answer}");
        }
        assert_eq!(ask(&mut stream, STATUS).await?, DONE);
        Ok(())
    });
}

#[test]
fn a_request_without_end_is_refused_and_not_kept() {
    with_socket(|path| async move {
        let stream = connect(&path).await?;
        let (mut reading, mut writing) = tokio::io::split(stream);
        let writing = async {
            let piece = vec![b' '; 1 << 16];
            for _ in 0..=LONGEST_REQUEST / piece.len() {
                // It may close meanwhile.
                if writing.write_all(&piece).await.is_err() {
                    break;
                }
            }
        };
        let mut answer = String::new();
        let ((), read) = tokio::join!(writing, reading.read_to_string(&mut answer));
        // What it did not read may cost the answer.
        assert!(read.is_err() || answer.contains("too-long"), "{answer}");
        assert_eq!(ask(&mut connect(&path).await?, STATUS).await?, DONE);
        Ok(())
    });
}

#[test]
fn silent_clients_hold_up_nobody_and_no_more_than_their_places() {
    with_socket(|path| async move {
        let mut silent = Vec::new();
        for _ in 0..MOST_CLIENTS - 1 {
            let mut stream = connect(&path).await?;
            stream.get_mut().write_all(b"{\"request\":").await?;
            silent.push(stream);
        }
        let mut well = connect(&path).await?;
        assert_eq!(ask(&mut well, STATUS).await?, DONE);
        let mut answer = String::new();
        connect(&path).await?.read_line(&mut answer).await?;
        assert!(answer.contains("busy"), "{answer}");
        assert_eq!(ask(&mut well, STATUS).await?, DONE);
        // They are not waited for for ever: then there are places again.
        tokio::time::pause();
        for mut stream in silent {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await?;
            assert!(rest.is_empty());
        }
        assert_eq!(ask(&mut connect(&path).await?, STATUS).await?, DONE);
        Ok(())
    });
}

#[test]
fn one_that_was_left_behind_gives_way_and_another_file_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SOCKET);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    drop(Socket::listen(folder.path()).unwrap());
    fs::write(&path, "somebody's").unwrap();
    assert!(Socket::listen(folder.path()).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
}

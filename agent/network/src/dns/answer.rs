//! From the bytes of a query to the bytes of its answer, purely. Whatever arrives, nothing here panics or grows.

use super::zone::{Found, Zone};
use crate::limits::{DNS_PLAIN_UDP_BYTES, DNS_UDP_BYTES};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

/// How the query came, and so how large its answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// What to do about a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Send(Vec<u8>),
    /// Not about the cluster: somebody else knows.
    Forward,
    /// Our part of the answer is an alias of a name that somebody else knows.
    Chase(Box<Chase>),
    /// Not a query at all.
    Ignore,
}

/// An answer to be completed with the addresses of `target`.
#[derive(Clone, Debug, PartialEq)]
pub struct Chase {
    pub target: Name,
    pub kind: RecordType,
    response: Message,
    limit: u16,
}

const HEADER_BYTES: usize = 12;
/// Aliases of aliases within the cluster that are followed; more are a loop.
const ALIASES: usize = 8;

/// Answers one query.
pub fn respond(zone: &Zone, query: &[u8], transport: Transport) -> Reply {
    let Some(header) = query.first_chunk::<HEADER_BYTES>() else { return Reply::Ignore };
    let id = u16::from_be_bytes([header[0], header[1]]);
    let is_response = header[2] & 0x80 != 0;
    if is_response {
        return Reply::Ignore;
    }
    let refuse = |code| send(&Message::error_msg(id, OpCode::Query, code), DNS_PLAIN_UDP_BYTES);
    // Seen before the rest is decoded: the counts decide how much memory that takes.
    if header[4..6] != [0, 1] || header[6..10] != [0; 4] {
        return refuse(ResponseCode::FormErr);
    }
    let Ok(query) = Message::from_vec(query) else { return refuse(ResponseCode::FormErr) };
    let mut response = answer_to(&query);
    let limit = limit(&query, transport);
    let with = |mut response: Message, code| {
        response.metadata.response_code = code;
        send(&response, limit)
    };
    let Some(question) = query.queries.first().cloned() else { return with(response, ResponseCode::FormErr) };
    if query.metadata.op_code != OpCode::Query {
        return with(response, ResponseCode::NotImp);
    }
    if query.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return with(response, ResponseCode::BADVERS);
    }
    let is_transfer = matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR);
    if question.query_class() != DNSClass::IN || is_transfer {
        return with(response, ResponseCode::Refused);
    }
    let (found, target) = follow(zone, question.name(), question.query_type(), &mut response);
    response.metadata.authoritative = true;
    match found {
        Found::Records { answers, additionals } => {
            response.add_answers(answers);
            response.add_additionals(additionals);
        }
        Found::NoData => drop(response.add_authority(zone.authority())),
        Found::NoName => {
            response.add_authority(zone.authority());
            response.metadata.response_code = ResponseCode::NXDomain;
        }
        Found::Elsewhere if response.answers.is_empty() => return Reply::Forward,
        Found::Elsewhere => {
            return Reply::Chase(Box::new(Chase { target, kind: question.query_type(), response, limit }));
        }
        Found::Alias(_) => response.metadata.response_code = ResponseCode::ServFail,
    }
    send(&response, limit)
}

/// Follows aliases within the cluster, each put into the answer; ends with what the last one is.
fn follow(zone: &Zone, name: &Name, kind: RecordType, response: &mut Message) -> (Found, Name) {
    let mut name = name.clone();
    for _ in 0..ALIASES {
        match zone.find(&name, kind) {
            Found::Alias(target) => {
                let alias = RData::CNAME(CNAME(target.clone()));
                response.add_answer(Record::from_rdata(name, crate::limits::DNS_TTL_SECONDS, alias));
                name = target;
            }
            found => return (found, name),
        }
    }
    (Found::Alias(name.clone()), name)
}

impl Chase {
    /// What to ask the others.
    pub fn query(&self) -> Vec<u8> {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(hickory_proto::op::Query::query(self.target.clone(), self.kind));
        query.to_vec().unwrap_or_default()
    }

    /// The answer with what they said; without, if they said nothing that can be read.
    pub fn complete(self, answer: Option<&[u8]>) -> Vec<u8> {
        let mut response = self.response;
        response.metadata.authoritative = false;
        match answer.and_then(|answer| Message::from_vec(answer).ok()) {
            Some(answer) => {
                response.metadata.response_code = answer.metadata.response_code;
                response.add_answers(answer.answers);
            }
            None => response.metadata.response_code = ResponseCode::ServFail,
        }
        encode(&response, self.limit)
    }
}

/// The answer to a query that nobody could answer.
pub fn failure(query: &[u8]) -> Vec<u8> {
    match Message::from_vec(query) {
        Ok(query) => {
            let mut response = answer_to(&query);
            response.metadata.response_code = ResponseCode::ServFail;
            encode(&response, DNS_PLAIN_UDP_BYTES)
        }
        Err(_) => Vec::new(),
    }
}

fn answer_to(query: &Message) -> Message {
    let mut response = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(DNS_UDP_BYTES);
        response.set_edns(edns);
    }
    response
}

fn limit(query: &Message, transport: Transport) -> u16 {
    match (transport, &query.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => DNS_PLAIN_UDP_BYTES,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(DNS_PLAIN_UDP_BYTES, DNS_UDP_BYTES),
    }
}

fn send(response: &Message, limit: u16) -> Reply {
    Reply::Send(encode(response, limit))
}

/// The bytes of a message; where they are too many, only its head, marked as truncated: the client asks again by TCP.
fn encode(response: &Message, limit: u16) -> Vec<u8> {
    let emit = |message: &Message| {
        let mut bytes = Vec::with_capacity(usize::from(DNS_PLAIN_UDP_BYTES));
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(limit);
        let done = message.emit(&mut encoder);
        let is_whole =
            done.is_ok() && bytes.get(2).is_some_and(|flags| flags & 0x02 == 0 || message.metadata.truncation);
        is_whole.then_some(bytes)
    };
    emit(response).or_else(|| emit(&response.truncate())).unwrap_or_default()
}

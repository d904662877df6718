//! Sources of requests: arrivals with their curves, client mixes, traces, lengths.
//!
//! Invariants: the random streams of a source depend on its name alone; every drawn length is cut
//! to what the engine admits, and a fixed or recorded one that does not fit is an error.
//!
//! Deliberately absent: drawing anything.

mod demand;
mod fit;
mod mix;
mod sessions;

use super::room::Room;
use super::{Resolver, mean_rate};
use crate::file::{
    ArrivalsFile, CallFile, ClientFile, Lengths, StepFile, TraceFile, TrafficFile, WorkFile,
};
use crate::problem::{At, Problem, ProblemKind, Site};
use crate::resolved::Origin;
pub(super) use demand::Demand;
use demand::demand;
use sessions::session;
use sha2::{Digest, Sha256};
use sim::dist::{LengthDist, LengthLaw, LengthsSpec};
use sim::ids::TaskId;
use sim::units::{Span, Time};
use sim::workload::{
    Arrivals, Gaps, People, PrefixSpec, RateCurve, ScaleHow, Scaling, SourceSpec, Trace,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Sources that all traffic together may have.
const MOST_SOURCES: usize = 10_000;
/// Turns of one conversation.
const MOST_TURNS: u32 = 10_000;
/// Knots, spikes and histogram entries that all sources together may have: a mix of thousands of
/// clients, each with a copy of a long curve, would otherwise take all memory.
const MOST_EXPANDED: usize = 1_000_000;

/// A source, and what the load estimate needs to know of it.
pub(super) struct Source {
    pub(super) spec: SourceSpec,
    pub(super) demand: Demand,
}

/// Lengths of a source: drawn, or recorded.
enum LengthSource<'a> {
    Drawn {
        input: &'a Lengths,
        output: &'a Lengths,
        correlation: f64,
    },
    Recorded {
        trace: Arc<Trace>,
        jitter: Span,
    },
    /// No call takes them.
    Unused,
}

/// When the requests of a source begin.
enum Begins {
    /// As the file says.
    Written(ArrivalsFile),
    /// As a client of a mix was measured.
    Measured(Gaps, RateCurve),
    /// At the instants of its recording.
    Recorded,
}

/// What all sources of one `[traffic.NAME]` share.
struct Common<'a> {
    file: &'a TrafficFile,
    task: TaskId,
    /// The call that the task is, if it is no more than one.
    call: Option<&'a CallFile>,
    /// Whether any call of the task has the lengths of the request.
    sized: bool,
    people: People,
    scaling: Scaling,
    horizon: Span,
    /// Prompt plus output tokens that some backend of every call admits; `None` when unknown.
    room: Option<Room>,
}

impl Resolver<'_> {
    /// All sources; traces have been read before, because the horizon may depend on them.
    pub(super) fn sources(&self, horizon: Span, traces: &[Option<Arc<Trace>>]) -> Vec<Source> {
        let mut all = Vec::new();
        let first_tenants = self.first_tenants();
        let traffic = self.file.traffic.iter().zip(traces).zip(first_tenants);
        for (((name, file), trace), first_tenant) in traffic {
            if let Some(common) = self.common(file, first_tenant, horizon) {
                self.expand(name, &common, trace.as_ref(), &mut all);
            }
            if all.len() > MOST_SOURCES {
                let message = format!("more than {MOST_SOURCES} sources in all");
                self.refuse(ProblemKind::BadValue, &name.site, message);
                break;
            }
        }
        all
    }

    fn common<'a>(
        &'a self,
        file: &'a TrafficFile,
        first_tenant: u32,
        horizon: Span,
    ) -> Option<Common<'a>> {
        let people = self.people(file, first_tenant);
        let scaling = self.scaling(file);
        let task_name = file.task.as_ref()?;
        let at = self.find(task_name, "task", &self.task_names)?;
        let (_, task_file) = self.file.tasks.get(at)?;
        // A task that could not be resolved has said why, and what its traffic is cannot be said.
        self.tasks.get(at)?.as_ref()?;
        let task = TaskId(u32::try_from(at).ok()?);
        let call = match task_file.steps.as_slice() {
            [StepFile { work, .. }] => match work.as_slice() {
                [WorkFile::Call(call)] => Some(&**call),
                _ => None,
            },
            _ => None,
        };
        let models = self.request_models(task);
        let room = models.iter().filter_map(|&model| self.room(model)).min();
        self.check_memory(file, task);
        let (scaling, people, sized) = (scaling?, people?, !models.is_empty());
        Some(Common { file, task, call, sized, people, scaling, horizon, room })
    }

    /// The traffic factor, written beside the trace or mix, or beside the source.
    fn scaling(&self, file: &TrafficFile) -> Option<Scaling> {
        let (trace, mix) = (file.trace.as_ref(), file.mix.as_ref());
        let inner = trace.and_then(|t| t.scale.as_ref()).or(mix.and_then(|m| m.scale.as_ref()));
        if let (Some(inner), Some(_)) = (inner, &file.scale) {
            let message = "`scale` is written twice, in the source and in its trace or clients";
            self.refuse(ProblemKind::Conflict, &inner.site, message);
            return None;
        }
        let inner_how = trace.and_then(|t| t.how.as_ref()).or(mix.and_then(|m| m.how.as_ref()));
        let how = inner_how.or(file.how.as_ref());
        let factor = inner.or(file.scale.as_ref());
        let scaling = Scaling {
            factor: factor.map_or(1.0, |factor| factor.value),
            how: how.map_or(ScaleHow::MoreUsers, |how| how.value),
        };
        if scaling.how == ScaleHow::Burstier && scaling.factor < 1.0 {
            let site = factor.map_or(&file.site, |factor| &factor.site);
            let message = "traffic cannot be made burstier by a factor below 1";
            self.refuse(ProblemKind::BadValue, site, message);
            return None;
        }
        Some(scaling)
    }

    /// The sources of one `[traffic.NAME]`: one, or one per client.
    fn expand(
        &self,
        name: &At<String>,
        common: &Common<'_>,
        trace: Option<&Arc<Trace>>,
        all: &mut Vec<Source>,
    ) {
        let file = common.file;
        if !common.sized && (file.trace.is_some() || file.mix.is_some()) {
            let message = "every call of its task has lengths of its own, so the recorded ones are \
                           not used";
            self.warn(&file.site, message.to_owned());
        }
        if let Some(TraceFile { jitter, .. }) = &file.trace {
            self.refuse_beside_trace(file);
            let (Some(trace), Some(jitter)) = (trace, jitter) else { return };
            let lengths = LengthSource::Recorded { trace: trace.clone(), jitter: jitter.value };
            all.extend(self.source(&name.value, common, Begins::Recorded, &lengths));
            return;
        }
        if let Some(mix) = &file.mix {
            self.expand_mix(name, common, mix, all);
            return;
        }
        let Some(arrivals) = &file.arrivals else { return };
        if file.clients.is_empty() {
            let lengths = self.drawn(common, None, &name.site);
            let begins = Begins::Written(arrivals.clone());
            all.extend(lengths.and_then(|l| self.source(&name.value, common, begins, &l)));
            return;
        }
        let total: f64 =
            file.clients.iter().filter_map(|client| client.share.as_ref()).map(|s| s.value).sum();
        let mut names = BTreeSet::new();
        for client in &file.clients {
            let (Some(client_name), Some(share)) = (&client.name, &client.share) else { continue };
            if !names.insert(client_name.value.as_str()) {
                let message = "two clients of this source have the same name";
                self.refuse(ProblemKind::Conflict, &client_name.site, message);
            }
            let full_name = format!("{}/{}", name.value, client_name.value);
            let arrivals = self.client_arrivals(arrivals, client, share.value / total);
            let lengths = self.drawn(common, Some(client), &client.site);
            if let (Some(arrivals), Some(lengths)) = (arrivals, lengths) {
                all.extend(self.source(&full_name, common, Begins::Written(arrivals), &lengths));
            }
        }
    }

    fn refuse_beside_trace(&self, file: &TrafficFile) {
        let site = |at: Option<&Site>| at.cloned();
        self.refuse_beside_recording(
            "trace",
            &[
                ("clients", site(file.clients.first().map(|client| &client.site))),
                ("profile", site(file.profile.as_ref().map(|profile| &profile.site))),
                ("spikes", site((!file.spikes.is_empty()).then_some(&file.site))),
                ("sessions", site(file.sessions.as_ref().map(|_| &file.site))),
                ("prefix", site(file.prefix.as_ref().map(|prefix| &prefix.tokens.site))),
                ("ends_by", site(file.ends_by_eos.as_ref().map(|ends_by| &ends_by.site))),
                ("input", site(file.input.as_ref().map(|input| &input.site))),
                ("output", site(file.output.as_ref().map(|output| &output.site))),
            ],
        );
    }

    /// Keys that a recording leaves no room for.
    fn refuse_beside_recording(&self, what: &str, keys: &[(&str, Option<Site>)]) {
        for (key, site) in keys {
            if let Some(site) = site {
                let message = format!("`{key}` does not go with a {what}, which brings its own");
                self.refuse(ProblemKind::Conflict, site, message);
            }
        }
    }

    /// A client's share of renewal arrivals, with its own burstiness.
    fn client_arrivals(
        &self,
        arrivals: &ArrivalsFile,
        client: &ClientFile,
        share: f64,
    ) -> Option<ArrivalsFile> {
        let ArrivalsFile::Renewal { gaps, rate, site } = arrivals else {
            let message =
                "clients share arrivals that have a rate: poisson, gamma, weibull, constant";
            self.refuse(ProblemKind::Conflict, &client.site, message);
            return None;
        };
        let gaps = client.cv.as_ref().map_or(*gaps, |cv| Gaps::Gamma { cv: cv.value });
        Some(ArrivalsFile::Renewal { gaps, rate: rate * share, site: site.clone() })
    }

    /// What a source says of prompts and answers that no call of its task has.
    fn warn_of_unused(&self, file: &TrafficFile, lengths: Option<&Lengths>) {
        let of_prompts = [
            ("this law", lengths.map(|lengths| &lengths.site)),
            ("this prefix", file.prefix.as_ref().map(|prefix| &prefix.tokens.site)),
            (
                "the history of these sessions",
                file.sessions.as_ref().map(|sessions| &sessions.turns.site),
            ),
            ("this max_tokens", file.max_tokens.as_ref().map(|most| &most.site)),
            ("this ends_by", file.ends_by_eos.as_ref().map(|ends| &ends.site)),
        ];
        for (what, site) in of_prompts {
            if let Some(site) = site {
                let message =
                    format!("every call of its task has lengths of its own, so {what} is not used");
                self.warn(site, message);
            }
        }
    }

    /// Lengths of a source's requests: those of a client, of the source, of the task's only call.
    fn drawn<'a>(
        &self,
        common: &Common<'a>,
        client: Option<&'a ClientFile>,
        site: &Site,
    ) -> Option<LengthSource<'a>> {
        let (file, call) = (common.file, common.call);
        let input = client.and_then(|c| c.input.as_ref()).or(file.input.as_ref());
        let output = client.and_then(|c| c.output.as_ref()).or(file.output.as_ref());
        if !common.sized {
            self.warn_of_unused(file, input.or(output));
            return Some(LengthSource::Unused);
        }
        let input = input.or(call.and_then(|call| call.input.as_ref()));
        let output = output.or(call.and_then(|call| call.output.as_ref()));
        let correlation = file.correlation.as_ref().or(call.and_then(|c| c.correlation.as_ref()));
        let correlation = correlation.map_or(0.0, |c| c.value);
        match (input, output) {
            (Some(input), Some(output)) => Some(LengthSource::Drawn { input, output, correlation }),
            _ => {
                let message = "its task has no `input` or no `output` length to draw from";
                // A law that is written and wrong has been reported where it stands.
                let places = [Some(site), Some(&file.site), call.map(|call| &call.site)];
                let laws = places
                    .into_iter()
                    .flatten()
                    .flat_map(|at| ["input", "output"].map(|key| at.child(key).key));
                let problem = Problem::new(ProblemKind::MissingKey, site, message).rests_on(laws);
                self.push(problem.help(match call {
                    Some(call) => format!("add both to the model_call at {}", call.site.place),
                    None => "add both here: calls of the task leave them to the request".to_owned(),
                }));
                None
            }
        }
    }

    fn source(
        &self,
        name: &str,
        common: &Common<'_>,
        begins: Begins,
        lengths: &LengthSource<'_>,
    ) -> Option<Source> {
        let file = common.file;
        self.charge(file, &begins, lengths)?;
        let prefix_tokens = file.prefix.as_ref().map_or(0, |prefix| prefix.tokens.value);
        let lengths_spec = match lengths {
            LengthSource::Drawn { input, output, correlation } => {
                self.fit_drawn(input, output, *correlation, prefix_tokens, common.room)?
            }
            LengthSource::Recorded { trace, .. } => {
                self.fit_recorded(trace, file, common.room);
                one_token()
            }
            LengthSource::Unused => one_token(),
        };
        let arrivals_spec = match (lengths, begins) {
            (LengthSource::Recorded { trace, jitter }, _) => {
                Arrivals::Replay { trace: trace.clone(), jitter: *jitter }
            }
            (_, Begins::Written(arrivals)) => self.arrivals(&arrivals, file)?,
            (_, Begins::Measured(gaps, rate)) => Arrivals::Renewal { gaps, rate },
            (_, Begins::Recorded) => return None,
        };
        let ends_by_eos = match &file.trace {
            Some(trace) => trace.ends_by_eos.as_ref().is_some_and(|eos| eos.value),
            None => file.ends_by_eos.as_ref().is_none_or(|eos| eos.value),
        };
        let demand = demand(&arrivals_spec, lengths, file, common.horizon);
        let priority = file.priority.as_ref().map_or(0, |priority| priority.value);
        let spec = SourceSpec {
            name: name.to_owned(),
            key: stream_key(name),
            task: common.task,
            arrivals: arrivals_spec,
            lengths: lengths_spec,
            ends_by_eos,
            max_tokens: file.max_tokens.as_ref().map(|max| max.value),
            priority: i32::try_from(priority).unwrap_or(0),
            prefix: file.prefix.as_ref().map(|prefix| PrefixSpec {
                tokens: prefix.tokens.value,
                distinct: prefix.distinct,
                zipf: prefix.zipf,
            }),
            session: file.sessions.as_ref().and_then(session),
            scaling: common.scaling,
            people: common.people.clone(),
        };
        Some(Source { spec, demand })
    }

    /// Counts what a source expands to; `None` beyond the cap.
    fn charge(
        &self,
        file: &TrafficFile,
        begins: &Begins,
        lengths: &LengthSource<'_>,
    ) -> Option<()> {
        let points = match begins {
            Begins::Measured(_, rate) => rate.knots.len(),
            _ => file.profile.as_ref().map_or(0, |profile| profile.points.len()),
        };
        let tables = match lengths {
            LengthSource::Drawn { input, output, .. } => input.size() + output.size(),
            LengthSource::Recorded { .. } | LengthSource::Unused => 0,
        };
        let turns = file.sessions.as_ref().map_or(0, |sessions| sessions.turns.size());
        let before = self.expanded.get();
        let after = before + points + file.spikes.len() + tables + turns;
        self.expanded.set(after);
        if before <= MOST_EXPANDED && after > MOST_EXPANDED {
            let message = format!(
                "the sources together have more than {MOST_EXPANDED} points, spikes and histogram \
                 entries"
            );
            let problem = Problem::new(ProblemKind::BadValue, &file.site, message);
            self.push(problem.help("fewer clients would fit; of a mix, the `largest`"));
        }
        (after <= MOST_EXPANDED).then_some(())
    }

    fn arrivals(&self, arrivals: &ArrivalsFile, file: &TrafficFile) -> Option<Arrivals> {
        match arrivals {
            ArrivalsFile::Renewal { gaps, rate, .. } => {
                Some(Arrivals::Renewal { gaps: *gaps, rate: curve(file, *rate) })
            }
            ArrivalsFile::Modulated { states } => {
                Some(Arrivals::Modulated { states: states.clone(), shape: curve(file, 1.0) })
            }
            ArrivalsFile::ClosedLoop { users, think, site } => {
                if file.profile.is_some() || !file.spikes.is_empty() || file.sessions.is_some() {
                    let message = "a closed loop has no rate for profile, spikes or sessions";
                    self.refuse(ProblemKind::Conflict, site, message);
                    return None;
                }
                Some(Arrivals::ClosedLoop { users: *users, think: think.clone() })
            }
        }
    }

    /// Reads the trace of each `[traffic.NAME]` that has one.
    pub(super) fn traces(&self) -> Vec<Option<Arc<Trace>>> {
        let read = |(name, traffic): &(At<String>, TrafficFile)| {
            let file = traffic.trace.as_ref()?;
            let (path, format) = (file.file.as_ref()?, file.format.as_ref()?);
            match self.files.trace(format.value, &path.value) {
                Ok(loaded) => {
                    for warning in loaded.warnings {
                        self.warn(&path.site, warning);
                    }
                    let spread = file.jitter.as_ref().is_some_and(|j| j.value > Span::ZERO);
                    if !spread && loaded.suggested_jitter > Span::ZERO {
                        let width = crate::quantity::show_span(loaded.suggested_jitter);
                        let message =
                            format!("recorded times are rounded: set jitter = \"{width}\"");
                        self.warn(&path.site, message);
                    }
                    let trace = loaded.trace;
                    let value = format!("{} requests", trace.rows.len());
                    let origin = Origin::Derived(format!("{}, {}", path.value, loaded.note));
                    self.note(format!("{}.trace", name.site.key), value, origin);
                    Some(trace)
                }
                Err(messages) => {
                    self.refuse_file(path, messages);
                    None
                }
            }
        };
        self.file.traffic.iter().map(read).collect()
    }

    /// What is wrong with a data file, with what would be right where that is known.
    fn refuse_file(&self, path: &At<String>, messages: Vec<String>) {
        for message in messages {
            let problem = Problem::new(ProblemKind::File, &path.site, message);
            self.push(match self.files.hint(&path.value) {
                Some(help) => problem.help(help),
                None => problem,
            });
        }
    }
}

/// Lengths that nobody looks at.
fn one_token() -> LengthsSpec {
    let one = LengthDist { law: LengthLaw::Fixed(1), min: 1, max: 1 };
    LengthsSpec { input: one.clone(), output: one, correlation: 0.0 }
}

/// The rate curve of a source: its profile and spikes, times `rate`.
fn curve(file: &TrafficFile, rate: f64) -> RateCurve {
    let mut curve = RateCurve::constant(rate);
    if let Some(profile) = &file.profile {
        let knot = |&(at, factor): &(Span, f64)| (Time::ZERO.after(at), factor * rate);
        curve.knots = profile.points.iter().map(knot).collect();
        curve.period = profile.period;
    }
    curve.spikes = spikes(file);
    curve
}

fn spikes(file: &TrafficFile) -> Vec<(Time, Span, f64)> {
    let spike = |s: &crate::file::Spike| (Time::ZERO.after(s.at), s.length, s.factor);
    file.spikes.iter().map(spike).collect()
}

/// Key of a named thing's random streams: the first 64 bits of its name's SHA-256.
pub(super) fn stream_key(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(8).fold(0, |key, &byte| key << 8 | u64::from(byte))
}

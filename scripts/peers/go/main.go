// Go's net/http with the official driver of MongoDB. It is built with the packages of Debian; with the argument
// "versions" it prints theirs.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/version"
)

type user struct {
	ID       primitive.ObjectID `bson:"_id"`
	Username string             `bson:"username"`
}

type owner struct {
	ID       primitive.ObjectID `bson:"id" json:"id"`
	Username string             `bson:"username" json:"username"`
}

type task struct {
	ID          primitive.ObjectID `bson:"_id" json:"id"`
	Title       string             `bson:"title" json:"title"`
	Description string             `bson:"description" json:"description"`
	Status      string             `bson:"status" json:"status"`
	Priority    int                `bson:"priority" json:"priority"`
	Tags        []string           `bson:"tags" json:"tags"`
	Completed   bool               `bson:"completed" json:"completed"`
	DueDate     *time.Time         `bson:"due_date" json:"due_date"`
	Owner       owner              `bson:"owner" json:"owner"`
	CreatedAt   time.Time          `bson:"created_at" json:"created_at"`
	UpdatedAt   time.Time          `bson:"updated_at" json:"updated_at"`
}

type server struct {
	secret       []byte
	users, tasks *mongo.Collection
}

var errCredentials = errors.New("could not validate credentials")

func (s *server) account(r *http.Request) (*user, error) {
	parts := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ".")
	if len(parts) != 3 {
		return nil, errCredentials
	}
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(signature, mac.Sum(nil)) {
		return nil, errCredentials
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, errCredentials
	}
	var claims struct {
		Subject  primitive.ObjectID `json:"sub"`
		Audience string             `json:"aud"`
		Expires  int64              `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Audience != "taskapi" || claims.Expires < time.Now().Unix() {
		return nil, errCredentials
	}
	var found user
	if s.users.FindOne(r.Context(), bson.D{{Key: "_id", Value: claims.Subject}}).Decode(&found) != nil {
		return nil, errCredentials
	}
	return &found, nil
}

func answer(w http.ResponseWriter, status int, value interface{}) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

func refuse(w http.ResponseWriter, status int) {
	answer(w, status, map[string]string{"detail": http.StatusText(status)})
}

func (s *server) read(w http.ResponseWriter, r *http.Request, filter bson.D) {
	var found task
	if s.tasks.FindOne(r.Context(), filter).Decode(&found) != nil {
		refuse(w, http.StatusNotFound)
		return
	}
	answer(w, http.StatusOK, found)
}

func (s *server) change(w http.ResponseWriter, r *http.Request, filter bson.D) {
	var sent struct {
		Priority int `json:"priority"`
	}
	if json.NewDecoder(r.Body).Decode(&sent) != nil || sent.Priority < 1 || sent.Priority > 5 {
		refuse(w, http.StatusUnprocessableEntity)
		return
	}
	values := bson.D{{Key: "priority", Value: sent.Priority}, {Key: "updated_at", Value: time.Now().UTC()}}
	after := options.FindOneAndUpdate().SetReturnDocument(options.After)
	var found task
	if s.tasks.FindOneAndUpdate(r.Context(), filter, bson.D{{Key: "$set", Value: values}}, after).Decode(&found) != nil {
		refuse(w, http.StatusNotFound)
		return
	}
	answer(w, http.StatusOK, found)
}

func (s *server) page(w http.ResponseWriter, r *http.Request, me *user) {
	limit, err := strconv.ParseInt(r.URL.Query().Get("limit"), 10, 64)
	if err != nil {
		limit = 20
	}
	newest := options.Find().SetSort(bson.D{{Key: "created_at", Value: -1}}).SetLimit(limit)
	cursor, err := s.tasks.Find(r.Context(), bson.D{{Key: "owner.id", Value: me.ID}}, newest)
	found := []task{}
	if err != nil || cursor.All(r.Context(), &found) != nil {
		refuse(w, http.StatusServiceUnavailable)
		return
	}
	answer(w, http.StatusOK, found)
}

func (s *server) create(w http.ResponseWriter, r *http.Request, me *user) {
	var sent struct {
		Title       string `json:"title"`
		Description string `json:"description"`
	}
	if json.NewDecoder(r.Body).Decode(&sent) != nil || len(sent.Title) < 3 || len(sent.Title) > 200 || len(sent.Description) > 2000 {
		refuse(w, http.StatusUnprocessableEntity)
		return
	}
	now := time.Now().UTC()
	created := task{ID: primitive.NewObjectID(), Title: sent.Title, Description: sent.Description, Status: "todo", Priority: 1,
		Tags: []string{}, Owner: owner{me.ID, me.Username}, CreatedAt: now, UpdatedAt: now}
	if _, err := s.tasks.InsertOne(r.Context(), created); err != nil {
		refuse(w, http.StatusServiceUnavailable)
		return
	}
	answer(w, http.StatusCreated, created)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	me, err := s.account(r)
	if err != nil {
		refuse(w, http.StatusUnauthorized)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/tasks")
	id, err := primitive.ObjectIDFromHex(strings.TrimPrefix(name, "/"))
	filter := bson.D{{Key: "_id", Value: id}, {Key: "owner.id", Value: me.ID}}
	switch {
	case name == "" && r.Method == http.MethodGet:
		s.page(w, r, me)
	case name == "" && r.Method == http.MethodPost:
		s.create(w, r, me)
	case err == nil && r.Method == http.MethodGet:
		s.read(w, r, filter)
	case err == nil && r.Method == http.MethodPatch:
		s.change(w, r, filter)
	default:
		refuse(w, http.StatusNotFound)
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "versions" {
		fmt.Printf("Go %s, mongo-driver %s\n", strings.TrimPrefix(runtime.Version(), "go"), strings.TrimPrefix(version.Driver, "v"))
		return
	}
	client, err := mongo.Connect(context.Background(), options.Client().ApplyURI(os.Getenv("PEER_URI")))
	if err != nil {
		log.Fatal(err)
	}
	database := client.Database(os.Getenv("PEER_DATABASE"))
	handler := &server{[]byte(os.Getenv("PEER_SECRET")), database.Collection("users"), database.Collection("tasks")}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PEER_PORT"), handler))
}
